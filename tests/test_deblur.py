"""codes/deblur.py from the command line to the files, in-process; and the call from Python."""

import errno
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codes import deblur as deblur_script
from codes.data.degradation import blurred
from codes.data.images import read_image, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake
from codes.data.kernels import write_kernel
from codes.data.preparation import quickstart
from codes.metrics.quality import psnr
from codes.models.factory import build_preset
from codes.models.weights import save_weights
from codes.restoration import restoring
from codes.restoration.call import deblur
from codes.restoration.deblurring import Settings
from codes.restoration.image_files import read_photo
from codes.utils.errors import UserError, run_command_line
from tests.conftest import ROOT
from tests.privileges import permissions_count

SMALL = "{preset: tiny, nf_p: 3, nf_d: 3, nb: 2, nf_n: 4}"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random weights and its card."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(1)
    network = build_preset("tiny", nf_p=3, nf_d=3, nb=2, nf_n=4)
    with torch.no_grad():  # as built every stage is the identity
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    save_weights(network, path)
    path.with_suffix(".yml").write_text(f"options: {{network_G: {SMALL}}}\n")
    return path


@pytest.fixture(scope="module")
def photograph():
    """Sharp (128, 160, 3) uint8, a kernel (9, 9), and the blurry image from 0 to 1, without noise."""
    sharp = quickstart()[0].image[64:192, 80:240]
    kernel = camera_shake(np.random.RandomState(5), 9)
    return sharp, kernel, blurred(sharp / 255, kernel)


@pytest.fixture
def project(tmp_path, photograph, weights):
    """A blurry image, its kernel, a folder of two, and how to call the script on them."""
    _, kernel, blurry = photograph
    write_kernel(tmp_path / "kernel.png", kernel)
    write_8bit(tmp_path / "blurry.png", to_8bit(blurry))
    for name in ("a.png", "b.png"):
        write_8bit(tmp_path / "photos" / name, to_8bit(blurry[:48, :64]))
    return tmp_path


def run(*arguments):
    return run_command_line(deblur_script.main, [str(argument) for argument in arguments])


def call(project, weights, *arguments, source="blurry.png", kernel="kernel.png", output="out/sharp.png"):
    kernel = project / kernel if "." in kernel and ":" not in kernel else kernel
    paths = ("--input", project / source, "--kernel", kernel, "--output", project / output)
    return run(*paths, "--weights", weights, *arguments)


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_shipped_weights_sharpen_a_photograph(project, photograph, capsys):
    sharp, _, blurry = photograph
    assert (
        run("--input", project / "blurry.png", "--kernel", project / "kernel.png", "--output", project / "s.png") == 0
    )
    assert "blurry.png: kernel taken as it is" in capsys.readouterr().err
    restored = to_8bit(read_image(project / "s.png"))
    assert psnr(sharp, restored) > psnr(sharp, to_8bit(blurry)) + 4


def test_a_rotated_kernel_gives_the_same_result(project, weights, photograph, capsys):
    _, kernel, _ = photograph
    write_kernel(project / "rotated.png", kernel[::-1, ::-1])
    assert call(project, weights, output="a.png") == 0
    assert call(project, weights, kernel="rotated.png", output="b.png") == 0
    assert "kernel taken rotated by 180 degrees" in capsys.readouterr().err
    assert call(project, weights, "--kernel-orientation", "rotated", kernel="rotated.png", output="c.png") == 0
    assert capsys.readouterr().err == ""
    assert call(project, weights, "--kernel-orientation", "as-is", kernel="rotated.png", output="d.png") == 0
    images = [(project / f"{name}.png").read_bytes() for name in "abcd"]
    assert images[0] == images[1] == images[2] != images[3]


def test_a_kernel_of_another_image_is_warned_of(project, weights, photograph, capsys):
    write_8bit(project / "sharp.png", photograph[0])
    assert call(project, weights, source="sharp.png", kernel="motion:12,20") == 0
    assert "sharp.png: this kernel does not seem to explain the blur" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [1, 5])
def test_a_delta_kernel_gives_the_image_itself(weights, random, capsys, dtype, size):
    values = random.uniform(size=(20, 24, 4))
    image = values.astype(dtype) if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)
    kernel = np.zeros((size, size, 3))
    kernel[size // 2, size // 2] = 1
    np.testing.assert_array_equal(deblur(image, kernel, weights=weights), image)
    assert "a single pixel, which blurs nothing" in capsys.readouterr().err
    if size > 1:
        shifted = np.roll(kernel, 1, 0)
        assert not np.array_equal(deblur(image, shifted, weights=weights), image)


def test_trace_and_compare(project, weights):
    assert call(project, weights, "--trace", "--compare") == 0
    names = ["sharp.png", "sharp_compare.png", "sharp_stage1.png", "sharp_stage2.png", "sharp_x0.png"]
    assert sorted(path.name for path in (project / "out").iterdir()) == names
    assert (project / "out" / "sharp.png").read_bytes() == (project / "out" / "sharp_stage2.png").read_bytes()
    assert read_image(project / "out" / "sharp_compare.png").shape == (128, 2 * 160 + 4, 3)


def test_what_is_written_beside_a_result_is_no_input_and_no_other_result(project, weights, photograph, capsys):
    for name in ("a_x0.png", "a_compare.png"):
        (project / name).write_bytes((project / "blurry.png").read_bytes())
        before = everything(project)
        assert call(project, weights, "--trace", "--compare", "--overwrite", source=name, output="a.png") == 1
        assert f"{name}: is an input, which is not overwritten" in capsys.readouterr().err
        assert everything(project) == before
    write_8bit(project / "photos" / "a_stage1.png", to_8bit(photograph[2]))
    assert call(project, weights, "--trace", source="photos", output="out") == 1
    assert "a_stage1.png: would be written for two of the images" in capsys.readouterr().err
    assert not (project / "out").exists()


def test_a_folder_goes_on_where_it_was_interrupted(project, weights, monkeypatch, capsys):
    real, done = deblur_script.restore, []

    def interrupted(deblurrer, *arguments, **keys):
        if done:
            raise KeyboardInterrupt
        done.append(keys["where"])
        return real(deblurrer, *arguments, **keys)

    monkeypatch.setattr(deblur_script, "restore", interrupted)
    assert call(project, weights, source="photos", output="out") == 130
    assert list(everything(project / "out")) == ["a.png"]
    first = (project / "out" / "a.png").stat().st_mtime_ns
    monkeypatch.undo()
    assert call(project, weights, source="photos", output="out") == 0
    assert "1 of 2 images are done already" in capsys.readouterr().out
    assert sorted(everything(project / "out")) == ["a.png", "b.png"]
    assert (project / "out" / "a.png").stat().st_mtime_ns == first
    assert call(project, weights, "--overwrite", source="photos", output="out") == 0
    assert (project / "out" / "a.png").stat().st_mtime_ns > first


def test_a_failing_file_of_a_folder_is_reported_and_the_rest_is_done(project, weights, capsys):
    (project / "photos" / "a.png").write_bytes(b"damaged")
    write_8bit(project / "photos" / "c.png", np.zeros((5, 5, 3), np.uint8))
    assert call(project, weights, source="photos", output="new/out") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "a.png: not a readable image" in errors[0]
    assert "c.png: a kernel of 9x9 pixels is larger than the image of 5x5" in errors[1]
    assert list(everything(project / "new")) == ["out/b.png"]


def test_a_folder_goes_on_after_a_file_that_cannot_be_written(project, weights, monkeypatch, capsys):
    (project / "out" / "a.png").mkdir(parents=True)
    assert call(project, weights, source="photos", output="out") == 1
    said = capsys.readouterr()
    assert "a.png: is a folder" in said.err
    assert "done already" not in said.out
    assert list(everything(project / "out")) == ["b.png"]

    def failing(number):
        def write(path, data):
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr("pathlib.Path.write_bytes", write)
        status = call(project, weights, source="photos", output=f"out{number}")
        return status, [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]

    status, errors = failing(errno.EIO)
    assert status == 1
    names = [str(project / f"out{errno.EIO}" / name) for name in ("a.png", "b.png")]
    assert errors == [f"error: Input/output error ({name})" for name in names]
    status, errors = failing(errno.ENOSPC)
    assert status == 1
    assert errors == [f"error: No space left on device ({project}/out{errno.ENOSPC}/a.png)"]


def test_what_lies_beside_a_result_is_kept_and_made_where_it_is_missing(project, weights, capsys):
    sheet = project / "out" / "sharp_compare.png"
    sheet.parent.mkdir()
    sheet.write_bytes(b"precious")
    assert call(project, weights, "--compare") == 1
    assert "sharp_compare.png: exists already" in capsys.readouterr().err
    assert everything(project / "out") == {"sharp_compare.png": b"precious"}
    assert call(project, weights, "--compare", "--overwrite") == 0
    assert sheet.read_bytes() != b"precious"

    assert call(project, weights, source="photos", output="all") == 0
    (project / "all" / "b_compare.png").write_bytes(b"precious")
    before = everything(project / "all")
    assert call(project, weights, "--compare", "--trace", source="photos", output="all") == 0
    after = everything(project / "all")
    assert len(after) == 2 * 5
    assert {name: after[name] for name in before} == before
    assert call(project, weights, "--compare", "--trace", source="photos", output="all") == 0
    assert "2 of 2 images are done already" in capsys.readouterr().out


def test_every_stage_of_a_delta_kernel_is_the_image(project, weights):
    assert call(project, weights, "--trace", kernel="gaussian:0") == 0
    stages = everything(project / "out")
    assert len(stages) == 4
    assert len(set(stages.values())) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_output_is_of_the_inputs_kind(project, weights, photograph, dtype, channels):
    values = np.concatenate([photograph[2], np.linspace(0, 1, 128 * 160).reshape(128, 160, 1)], 2)
    values = values[:32, :40, {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]]
    pixels = np.rint(values * np.iinfo(dtype).max).astype(dtype) if dtype != np.float32 else values.astype(dtype)
    extra = ["unassalpha"] if channels in (2, 4) else None
    photometric = "rgb" if channels > 2 else "minisblack"
    planar = "contig" if channels > 1 else None
    tifffile.imwrite(
        project / "a.tif",
        pixels if channels > 1 else pixels[..., 0],
        photometric=photometric,
        extrasamples=extra,
        planarconfig=planar,
    )
    assert call(project, weights, source="a.tif", output="out") == 0
    restored = read_photo(project / "out" / "a.tif").pixels
    assert (restored.shape, restored.dtype) == (pixels.shape, pixels.dtype)
    assert not np.array_equal(restored[..., 0], pixels[..., 0])
    if channels in (2, 4):
        np.testing.assert_array_equal(restored[..., -1], pixels[..., -1])


def test_the_kernel_belongs_to_the_image_as_it_is_shown(project, weights, photograph):
    """The same photograph, stored turned with an orientation tag, gives the same picture."""
    upright = to_8bit(photograph[2])
    for name, pixels, orientation in (("a.tif", upright, 1), ("b.tif", np.rot90(upright), 6)):
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(project / name, pixels, photometric="rgb", extratags=tags, metadata=None)
        assert call(project, weights, source=name, output=f"out/{name}") == 0
    results = [read_photo(project / "out" / name) for name in ("a.tif", "b.tif")]
    assert [photo.metadata.orientation for photo in results] == [1, 6]
    np.testing.assert_array_equal(results[0].pixels, results[1].pixels)
    assert tifffile.imread(project / "out" / "b.tif").shape == (160, 128, 3)


def test_the_examples_are_made_where_they_are_missing(project, weights, monkeypatch):
    examples = project / "Quickstart"
    monkeypatch.setattr(deblur_script, "EXAMPLES", examples)
    write_8bit(project / "small.png", np.zeros((8, 8, 3), np.uint8))
    assert call(project, weights, source="small.png", kernel="disk:1", output="small") == 0
    assert not examples.exists()
    kernel = examples / "Kernel" / "coffee.png"
    assert call(project, weights, source="small.png", kernel=str(kernel)) == 1  # too large, but it is there
    assert kernel.is_file()


def test_options_change_the_result(project, weights):
    mask = np.full((128, 160, 1), 255, np.uint8)
    mask[40:44, 50:54] = 0
    write_8bit(project / "mask.png", mask)
    results = set()
    for n, extra in enumerate(([], ["--ensemble"], ["--precision", "bfloat16"], ["--mask", project / "mask.png"])):
        assert call(project, weights, *extra, output=f"{n}.tif") == 0
        results.add((project / f"{n}.tif").read_bytes())
    assert len(results) == 4
    assert call(project, weights, "--tile", "off", "--device", "cpu", output="off.tif") == 0
    assert (project / "off.tif").read_bytes() == (project / "0.tif").read_bytes()


def test_masks_for_weights_that_do_not_know_them_are_warned_of(project, weights, tmp_path, capsys):
    assert call(project, weights, "--mask", "auto", output="a.png") == 0
    assert "small.safetensors was not trained with masks" in capsys.readouterr().err
    card = weights.with_suffix(".yml").read_text()
    trained = tmp_path / "trained.safetensors"
    trained.write_bytes(weights.read_bytes())
    trained.with_suffix(".yml").write_text(card.replace("}}", "}, datasets: {train: {masks: 0.2}}}"))
    assert call(project, trained, "--mask", "auto", output="b.png") == 0
    assert "not trained with masks" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "gone.png"}, "gone.png: no such file"),
        ({"source": "kernel.txt"}, "kernel.txt: not a readable image"),
        ({"kernel": "gone.png"}, "gone.png: no such file; without a file, write motion:LENGTH,ANGLE"),
        ({"kernel": "kernel.txt"}, "kernel.txt: not a readable image"),
        ({"kernel": "nan.npy"}, "nan.npy: the kernel holds values that are not finite"),
        ({"kernel": "large.npy"}, "larger than the image"),
        ({"kernel": "disk:200"}, "a kernel of 401x401 pixels is larger than the image"),
        ({"output": "out/sharp.webp"}, "an image of type .png"),
        ({"output": "blurry.png"}, "blurry.png: is an input, which is not overwritten"),
        ({"output": "link.png"}, "link.png: is an input, which is not overwritten"),
        ({"output": "kernel.png"}, "kernel.png: is an input, which is not overwritten"),
        ({"output": "old.png"}, "old.png: exists already; choose another --output, or --overwrite"),
        ({"source": "photos", "output": "photos"}, "is an input, which is not overwritten"),
        ({"source": "photos", "output": "out.png"}, "a folder is needed for the images of a folder"),
        ({"source": "empty"}, "a folder is needed"),
        ({"source": "empty", "output": "out"}, "empty: holds no .png"),
        ({"output": "file/sharp.png"}, "/file"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(project, weights, capsys, changes, message):
    (project / "kernel.txt").write_text("text")
    (project / "file").write_text("a file where a folder is wanted")
    (project / "old.png").write_bytes(b"precious")
    (project / "link.png").symlink_to(project / "blurry.png")
    (project / "empty").mkdir()
    np.save(project / "nan.npy", np.full((3, 3), np.nan))
    np.save(project / "large.npy", np.ones((129, 3)))
    before = everything(project)
    extra = ["--overwrite"] if changes.get("output") in ("blurry.png", "link.png", "kernel.png", "photos") else []
    assert call(project, weights, *extra, **changes) == 1
    error = capsys.readouterr().err.strip().splitlines()
    error = [line for line in error if "kernel taken" not in line]
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert message in error[0]
    assert everything(project) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "gone.pth"], "--weights gone.pth: no such file, and no preset"),
        (["--weights", "light"], "Models/README.md says where to get it"),
        (["--preset", "light"], "does not fit this DSDNet"),
        (["--device", "cuda:99"], "--device cuda:99: this machine has"),
        (["--device", "mps"], "--device mps: cpu, cuda or cuda:N is expected"),
        (["--device", "meta"], "--device meta: cpu, cuda or cuda:N is expected"),
        (["--device", "gpu"], "--device gpu: cpu, cuda or cuda:N is expected"),
        (["--tile", "32"], "tile 32: this kernel needs tiles of at least"),
        (["--mask", "kernel.png"], "the mask has 9x9 pixels, the image 160x128"),
        (["--mask", "gone.png"], "gone.png: no such file"),
    ],
)
def test_impossible_options(project, weights, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(project)
    assert call(project, weights, *arguments) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]
    assert not (project / "out").exists()


@pytest.mark.parametrize("arguments", [["--tile", "0"], ["--memory", "-1"], ["--preset", "x"], ["--precision", "half"]])
def test_argparse_says_the_rest(project, weights, arguments):
    with pytest.raises(SystemExit) as status:
        deblur_script.main(["--input", "a", "--kernel", "b", "--output", "c", *arguments])
    assert status.value.code == 2


def test_names_with_spaces_and_umlauts(project, weights):
    (project / "blurry.png").rename(project / "ein unscharfes Bild ü.png")
    assert call(project, weights, source="ein unscharfes Bild ü.png", output="ö ut") == 0
    assert list(everything(project / "ö ut")) == ["ein unscharfes Bild ü.png"]


def test_a_full_disk_leaves_nothing_behind(project, weights, monkeypatch, capsys):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert call(project, weights) == 1
    assert "error: No space left on device" in capsys.readouterr().err
    assert list((project / "out").iterdir()) == []


@pytest.mark.parametrize("source", ["blurry.png", "photos"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("read only/new/sharp", "read only: can't be written (Permission denied); choose another --output"),
        ("file/sharp", "file: is no folder"),
        ("nowhere/sharp", "nowhere: is no folder"),
    ],
)
def test_an_output_that_cannot_be_made_is_told_before_the_work(
    project, weights, capsys, monkeypatch, source, output, message
):
    monkeypatch.setattr(deblur_script, "restore", lambda *_, **__: pytest.fail("restored in vain"))
    (project / "read only").mkdir(mode=0o500)
    (project / "file").write_text("precious")
    (project / "nowhere").symlink_to(project / "gone")
    before = everything(project)
    with permissions_count():
        assert call(project, weights, source=source, output=output) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {project}/{message}")
    assert everything(project) == before
    assert list((project / "read only").iterdir()) == []


def test_a_memory_that_cannot_be_kept_to_is_told_with_what_is_needed(project, weights, capsys, monkeypatch):
    monkeypatch.setattr("codes.restoration.deblurring.taken", lambda device: 600_000_000)
    monkeypatch.setattr("codes.restoration.memory.taken", lambda device: 600_000_000)
    assert call(project, weights, "--memory", "0.6") == 1
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "blurry.png: memory 0.6 GB: this image and kernel need 0.7 GB even in the smallest tiles" in error
    assert not (project / "out").exists()
    assert call(project, weights, "--memory", "0.7") == 0


def test_output_that_is_not_finite_is_an_error(project, photograph, tmp_path, capsys):
    path = tmp_path / "wild.safetensors"
    network = build_preset("tiny", nf_p=3, nf_d=3, nb=2, nf_n=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 1e12)
    save_weights(network, path)
    path.with_suffix(".yml").write_text(f"options: {{network_G: {SMALL}}}\n")
    assert call(project, path) == 1
    assert "blurry.png: the restored image holds values that are not finite" in capsys.readouterr().err
    assert not (project / "out").exists()


def test_the_help_reads_on_a_real_command_line():
    done = subprocess.run(
        [sys.executable, str(ROOT / "codes" / "deblur.py"), "--help"], capture_output=True, text=True, cwd="/tmp"
    )
    assert done.returncode == 0
    for word in ("motion:LENGTH,ANGLE", "--kernel-orientation", "--tile", "viewer shows it"):
        assert word in done.stdout


# --- from Python


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_image_with_any_kernel_that_fits(weights, data):
    """The result has the image's shape and type, and values in its range."""
    height, width = (data.draw(st.integers(1, 70)) for _ in range(2))
    channels = data.draw(st.sampled_from([None, 1, 2, 3, 4]))
    dtype = np.dtype(data.draw(st.sampled_from([np.uint8, np.uint16, np.float32, np.float64])))
    random = np.random.RandomState(data.draw(st.integers(0, 99)))
    shape = (height, width) if channels is None else (height, width, channels)
    values = random.uniform(size=shape) ** data.draw(st.sampled_from([0.0, 1.0, 30.0]))
    image = (values * np.iinfo(dtype).max).astype(dtype) if dtype.kind == "u" else values.astype(dtype)
    size = [data.draw(st.integers(1, max(1, min(length, 21) - 1))) for length in (height, width)]
    per_channel = channels in (3, 4) and data.draw(st.booleans())
    kernel = random.uniform(size=(*size, 3) if per_channel else size) ** 4 + 1e-9
    mask = data.draw(st.sampled_from([None, "auto"]))
    restored = deblur(image, kernel * 7, weights=weights, mask=mask, settings=Settings(tile="off"))
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    assert np.isfinite(restored).all()
    if dtype.kind == "f":
        assert restored.min() >= 0
        assert restored.max() <= 1
    if channels in (2, 4):
        np.testing.assert_array_equal(restored[..., -1], image[..., -1])


@pytest.mark.parametrize(
    ("image", "kernel", "message"),
    [
        (np.zeros((8, 8, 5)), np.ones((3, 3)), "the image: an image is"),
        (np.zeros((8, 8), complex), np.ones((3, 3)), "pixels of type complex128"),
        (np.zeros((8, 8)), np.ones(3), "the kernel: a kernel is a two-dimensional"),
        (np.zeros((8, 8)), np.zeros((3, 3)), "the kernel: the kernel is all zero"),
        (np.zeros((8, 8)), np.ones((3, 5, 5)), "channels come last"),
        (np.zeros((8, 8)), np.ones((1, 5, 5)), "channels come last"),
        (np.zeros((8, 8)), np.ones((9, 3)), "larger than the image"),
        (np.zeros((8, 8)), np.arange(27.0).reshape(3, 3, 3), "is grey, but the kernel has a channel"),
    ],
)
def test_impossible_arrays(weights, image, kernel, message):
    with pytest.raises(UserError, match=message):
        deblur(image, kernel, weights=weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orientation": "as_is"}, "orientation 'as_is': auto, as-is, rotated are possible"),
        ({"orientation": None}, "orientation None"),
        ({"mask": "automatic"}, "mask 'automatic': 'auto' or an array"),
        ({"mask": np.full((8, 8), np.nan)}, "a mask is made of finite numbers"),
        ({"mask": np.full((8, 8), "x")}, "a mask is made of finite numbers"),
        ({"settings": {"tile": 96}}, "Settings is expected, not dict"),
    ],
)
def test_impossible_options_of_the_call(weights, options, message):
    with pytest.raises(UserError, match=message):
        deblur(np.zeros((8, 8)), np.eye(3), weights=weights, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "precision 'float16': float32 or bfloat16"),
        ({"tile": 0}, "tile 0: auto, off or a whole number"),
        ({"tile": "no"}, "tile 'no'"),
        ({"tile": 176.5}, "tile 176.5"),
        ({"gigabytes": -1}, "gigabytes -1"),
        ({"gigabytes": float("nan")}, "gigabytes nan"),
    ],
)
def test_impossible_settings(options, message):
    with pytest.raises(UserError, match=message):
        Settings(**options)


def test_the_call_equals_the_command_line(project, weights, photograph):
    assert call(project, weights) == 0
    kernel = restoring.rotated(read_kernel_of(project))
    image = cv2.imread(str(project / "blurry.png"))[..., ::-1]
    restored = deblur(image, kernel, weights=weights)
    np.testing.assert_array_equal(restored, to_8bit(read_image(project / "out" / "sharp.png")))
    with pytest.raises(UserError, match="a mask is an array"):
        deblur(image, kernel, weights=weights, mask=np.ones((3, 3)))


def test_dim_and_bright_images_are_restored_as_ordinary_ones(photograph, capsys):
    sharp, kernel, blurry = photograph
    sharp, blurry = sharp[:80, :96], blurry[:80, :96].astype(np.float32)
    least = psnr(sharp, to_8bit(deblur(blurry, kernel, orientation="as-is"))) - 0.5
    assert capsys.readouterr().err == ""
    for factor in (1e-4, 30.0):
        restored = deblur(factor * blurry, kernel, orientation="as-is")
        assert psnr(sharp, to_8bit(restored / factor)) > least
        assert "of full scale taken as white, and scaled back" in capsys.readouterr().err
    twelve = np.rint(blurry * 4095).astype(np.uint16)
    assert psnr(sharp, to_8bit(deblur(twelve, kernel, orientation="as-is") / 4095)) > least
    capsys.readouterr()

    hot = blurry.copy()
    hot[20, 30], hot[50, 60] = 1e6, -1e6
    restored = deblur(hot, kernel, orientation="as-is")
    said = capsys.readouterr().err
    assert "3 values beyond" in said
    assert "3 values below 0 are cut off" in said
    assert psnr(sharp[:, 70:], to_8bit(restored[:, 70:])) > psnr(sharp[:, 70:], to_8bit(blurry[:, 70:])) + 2


def test_the_call_by_torch_hub(photograph):
    image, kernel = to_8bit(photograph[2])[:40, :48], photograph[1]
    restored = torch.hub.load(str(ROOT), "deblur", image, kernel, source="local")
    np.testing.assert_array_equal(restored, deblur(image, kernel))


def read_kernel_of(project):
    return cv2.imread(str(project / "kernel.png"), cv2.IMREAD_GRAYSCALE).astype(float)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_four_megapixel_image(photograph):
    sharp = np.tile(photograph[0], (16, 13, 1))[:2000, :2048]
    kernel = camera_shake(np.random.RandomState(5), 31)
    image = to_8bit(blurred(sharp / 255, kernel))
    restored = deblur(image, kernel, settings=Settings(gigabytes=2.5))
    assert restored.shape == image.shape
    assert psnr(sharp, restored) > psnr(sharp, image) + 3
