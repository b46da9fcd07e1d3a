"""codes/estimate_kernel.py: kernels from pairs and points, the files it writes, and mistakes in one line."""

import shlex

import numpy as np
import pytest
from scipy.signal import fftconvolve

from codes import estimate_kernel
from codes.data.degradation import blurred, with_noise
from codes.data.images import read_image, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake, disk, gaussian
from codes.data.kernels import read_kernel
from codes.data.preparation import quickstart
from codes.restoration.kernel_estimation import from_pair, from_point, preview, write_kernel_file
from codes.utils.errors import UserError, run_command_line
from studies.kernels import similarity
from tests.conftest import files_in, one_error


@pytest.fixture(scope="module")
def kernel():
    return camera_shake(np.random.RandomState(5), 13)


@pytest.fixture(scope="module")
def sharp():
    return quickstart()[0].image[40:232, 40:264]


@pytest.fixture(scope="module")
def blurry(sharp, kernel):
    return with_noise(blurred(sharp / 255, kernel), 0.01, seed=1)


def star(kernel, row, column, brightest=0.9):
    """A dark picture (120, 140, 3) with a blurred pixel at (row, column)."""
    scene = np.zeros((120, 140, 3))
    scene[row, column] = 1
    image = blurred(scene, kernel)
    return with_noise(0.1 + image / image.max() * (brightest - 0.1), 0.01, seed=2)


@pytest.fixture
def project(tmp_path, sharp, blurry, kernel):
    write_8bit(tmp_path / "sharp.png", sharp)
    write_8bit(tmp_path / "blurred.png", blurry)
    write_8bit(tmp_path / "star.png", star(kernel, 60, 70))
    return tmp_path


def call(project, *arguments, output="kernel.png", source="blurred.png"):
    words = ["--input", project / source, "--output", project / output, *arguments]
    return run_command_line(estimate_kernel.main, [str(word) for word in words])


@pytest.mark.parametrize("size", [None, 13])
def test_pair_gives_the_kernel_as_it_was_applied(sharp, blurry, kernel, size):
    estimate = from_pair(sharp, blurry, size)
    assert estimate.kernel.shape[0] % 2 == 1 <= estimate.kernel.shape[0] <= 19
    assert estimate.kernel.sum() == pytest.approx(1)
    assert estimate.kernel.min() >= 0
    assert similarity(estimate.kernel, kernel) > 0.99
    assert similarity(estimate.kernel, kernel[::-1, ::-1]) < 0.95
    assert estimate.psnr > 39.5  # noise of 1 percent alone gives 40 dB
    assert estimate.explained > 0.99
    assert not estimate.warnings


@pytest.mark.parametrize("shift", [(2, -3), (-14, 9)])
def test_pair_displacement_is_found_and_left_out(sharp, kernel, shift):
    """The same kernel as without displacement, and the displacement in addition to what was found there."""
    right, down = shift
    image = to_8bit(blurred(sharp / 255, kernel))
    moved = np.roll(image, (down, right), (0, 1))
    still, estimate = from_pair(sharp, image, 13), from_pair(sharp, moved, 13)
    difference = np.subtract(estimate.shift, still.shift) - shift
    assert np.abs(difference).max() <= 1
    assert similarity(estimate.kernel, kernel) > 0.98


def test_pair_of_other_exposure_and_white_balance(sharp, blurry, kernel):
    darker = to_8bit(blurry / 255 * (0.5, 0.6, 0.8) + 0.05)
    estimate = from_pair(sharp, darker)
    assert similarity(estimate.kernel, kernel) > 0.99
    assert estimate.explained > 0.99


def test_pair_uses_all_channels(sharp, kernel):
    """Edges in the blue channel only."""
    image = np.full(sharp.shape, 100, np.uint8)
    image[..., 2] = sharp[..., 0]
    estimate = from_pair(image, to_8bit(blurred(image / 255, kernel)), 13)
    assert similarity(estimate.kernel, kernel) > 0.98


def test_pair_of_grey_and_colour_or_other_types(sharp, kernel):
    grey = sharp.mean(2, keepdims=True) / 255
    image = np.rint(blurred(grey, kernel) * 65535).astype(np.uint16)
    assert similarity(from_pair(sharp, image[..., 0], 13).kernel, kernel) > 0.99


def test_pair_of_different_scenes_warns(sharp, blurry):
    estimate = from_pair(np.ascontiguousarray(sharp[::-1]), blurry, 13)
    assert estimate.explained < 0.9
    assert any("same scene" in warning for warning in estimate.warnings)


def test_sharp_pair_gives_a_single_pixel(sharp):
    estimate = from_pair(sharp, with_noise(sharp / 255, 0.01, seed=3))
    assert estimate.kernel.max() > 0.95
    assert len(estimate.kernel) <= 9


def test_point_shows_the_kernel_rotated(kernel):
    """The picture of a point is turned by 180 degrees, so that the kernel is one for cross-correlation."""
    estimate = from_point(star(kernel, 60, 70), 70, 60, 15)
    assert similarity(estimate.kernel, kernel) > 0.99
    assert similarity(estimate.kernel, kernel[::-1, ::-1]) < 0.95
    assert estimate.kernel.shape == (15, 15)
    assert estimate.kernel.sum() == pytest.approx(1)
    assert estimate.explained > 0.95
    assert not estimate.warnings


def test_point_named_inexactly_is_centred(kernel):
    image = star(kernel, 60, 70)
    exact, estimate = from_point(image, 70, 60, 15), from_point(image, 73, 57, 15)
    assert np.subtract(estimate.shift, exact.shift).tolist() == [-3, 3]
    assert similarity(estimate.kernel, exact.kernel) > 0.999


def test_point_background_is_removed():
    """A colour cast does not get into the kernel."""
    image = star(gaussian(9, 1.5), 60, 70)
    cast = to_8bit(image / 255 * 0.7 + (0.0, 0.1, 0.25))
    assert similarity(from_point(cast, 70, 60, 9).kernel, gaussian(9, 1.5)) > 0.99
    corner = from_point(cast, 70, 60, 21).kernel[:4, :4]
    assert not corner.any()


def test_the_disc_of_a_large_light_is_removed(kernel):
    """A light of 4 pixels across: the kernel is nearly that of a point, and much better than without the diameter."""
    image = star(fftconvolve(kernel, disk(7, 2)), 60, 70)
    plain, estimate = from_point(image, 70, 60, 19), from_point(image, 70, 60, 19, point_size=4)
    assert similarity(plain.kernel, kernel) < 0.93
    assert similarity(estimate.kernel, kernel) > 0.97
    assert estimate.kernel.shape == (19, 19)
    assert estimate.kernel.sum() == pytest.approx(1)


def test_clipped_point_warns(kernel):
    (warning,) = from_point(star(kernel, 60, 70, brightest=2), 70, 60, 15).warnings
    assert "clipped" in warning


def test_point_larger_than_its_window_warns():
    estimate = from_point(star(gaussian(41, 6), 60, 70), 70, 60, 9)
    assert estimate.explained < 0.8
    assert any("outside" in warning for warning in estimate.warnings)


@pytest.mark.parametrize("name", ["k.png", "k.tif", "k.npy", "k.mat", "K.PNG"])
def test_every_format_is_read_back(tmp_path, kernel, name):
    write_kernel_file(tmp_path / name, kernel)
    np.testing.assert_allclose(read_kernel(tmp_path / name), kernel, atol=2e-6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_preview_is_enlarged(kernel):
    picture = preview(kernel)
    assert picture.shape == (31 * 13, 31 * 13, 1)
    assert picture.dtype == np.uint8
    assert picture.max() == 255


def test_command_for_a_pair(project, kernel, capsys):
    assert call(project, "--sharp", project / "sharp.png") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "dB" in printed.out
    assert "% of the variance explained" in printed.out
    assert similarity(read_kernel(project / "kernel.png"), kernel) > 0.99
    assert read_image(project / "kernel_preview.png").shape[0] >= 300
    words = shlex.split(printed.out.splitlines()[-1].removeprefix("next: "))
    assert words[:2] == ["python", "codes/deblur.py"]
    assert words[words.index("--kernel") + 1] == str(project / "kernel.png")
    assert words[words.index("--kernel-orientation") + 1] == "as-is"


def test_command_for_a_point(project, kernel, capsys):
    assert call(project, "--point", "70,60", "--size", 14, source="star.png", output="new/kernel.npy") == 0
    assert "light around the point that it contains: " in capsys.readouterr().out
    stored = read_kernel(project / "new" / "kernel.npy")
    assert stored.shape == (15, 15)
    assert similarity(stored, kernel) > 0.99


def test_files_are_replaced_only_when_asked(project, capsys):
    (project / "kernel_preview.png").write_text("old")
    before = files_in(project)
    assert call(project, "--point", "70,60", "--size", 15, source="star.png") == 1
    assert "kernel_preview.png: exists already; choose another --output, or --overwrite" in one_error(capsys)
    assert files_in(project) == before
    assert call(project, "--point", "70,60", "--size", 15, "--overwrite", source="star.png") == 0
    assert len(files_in(project)) == len(before) + 1


@pytest.mark.parametrize("output", ["blurred.png", "sharp.png"])
def test_inputs_are_never_overwritten(project, capsys, output):
    before = files_in(project)
    assert call(project, "--sharp", project / "sharp.png", "--overwrite", output=output) == 1
    assert "is an input" in one_error(capsys)
    assert files_in(project) == before


def test_a_preview_does_not_overwrite_an_input(project, capsys):
    (project / "star.png").rename(project / "k_preview.png")
    arguments = ("--point", "70,60", "--size", 15, "--overwrite")
    assert call(project, *arguments, source="k_preview.png", output="k.npy") == 1
    assert "is an input" in one_error(capsys)


@pytest.mark.parametrize(
    ("arguments", "source", "output", "message"),
    [
        (("--point", "70,60"), "star.png", "k.png", "--size N"),
        (("--point", "700,60", "--size", 15), "star.png", "k.png", "not in the image of 140x120"),
        (("--point", "20,20", "--size", 15), "star.png", "k.png", "no light stands out"),
        (("--point", "70,60", "--size", 151), "star.png", "k.png", "larger than the image"),
        (("--point", "70,60", "--size", 15, "--point-size", 15), "star.png", "k.png", "a light of 15 pixels"),
        (("--point", "70,60", "--size", 99999), "star.png", "k.png", "3 to 4095 are possible"),
        (("--sharp", "sharp.png", "--size", 1), "blurred.png", "k.png", "a kernel of 1 pixels: 3 to 4095"),
        (("--point", "70,60", "--size", 15), "star.png", "k.jpg", "ends in .png"),
        (("--point", "70,60", "--size", 15), "missing.png", "k.png", "no such file"),
        (("--sharp", "star.png"), "blurred.png", "k.png", "different sizes (140x120 and 224x192)"),
        (("--sharp", "sharp.png", "--size", 301), "blurred.png", "k.png", "are needed for this kernel"),
        (("--sharp", "sharp.png", "--point-size", 3), "blurred.png", "k.png", "--point-size is for --point"),
        (("--sharp", "missing.png"), "blurred.png", "k.png", "no such file"),
    ],
)
def test_mistakes_are_one_line(project, capsys, monkeypatch, arguments, source, output, message):
    monkeypatch.chdir(project)
    before = files_in(project)
    assert call(project, *arguments, source=source, output=output) == 1
    error = one_error(capsys)
    assert message in error
    assert len(error) <= 300
    assert files_in(project) == before


@pytest.mark.parametrize("arguments", [("--point", "70"), ("--point", "a,b"), (), ("--sharp", "a", "--point", "1,1")])
def test_arguments_that_are_not_understood(project, arguments):
    with pytest.raises(SystemExit) as end:
        call(project, *arguments)
    assert end.value.code == 2


def test_empty_and_tiny_pictures_are_refused(sharp):
    with pytest.raises(UserError, match="all its pixels are equal"):
        from_pair(np.full_like(sharp, 7), sharp)
    with pytest.raises(UserError, match="are needed"):
        from_pair(sharp[:9, :9], sharp[:9, :9])
    for row, column in ((5, 70), (70, 5)):
        with pytest.raises(UserError, match="reaches beyond the image"):
            from_point(star(gaussian(9, 1.5), row, column), column, row, 25)
