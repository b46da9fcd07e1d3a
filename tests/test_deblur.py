"""codes/deblur.py from the command line to the files, in-process; the call from Python; codes/blur_images.py."""

import errno
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from codes import blur_images
from codes import deblur as deblur_script
from codes.data.camera import decoded, encoded
from codes.data.degradation import blurred
from codes.data.images import read_image, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake
from codes.data.kernels import rotated, write_kernel
from codes.data.preparation import quickstart
from codes.data.triples import TripleDataset
from codes.evaluation.metrics import psnr
from codes.models.network import Network
from codes.models.weights import save_weights
from codes.options import TestSet
from codes.restoration.call import deblur
from codes.restoration.gamma import noise_in_light, to_light, to_values
from codes.restoration.image_files import read_photo
from codes.restoration.networks import load_network
from codes.utils.errors import UserError, run_command_line
from codes.utils.progress import Progress
from codes.utils.yaml_files import read_yaml
from tests.conftest import ROOT, files_in, one_error, permissions_count, small_network

SMALL = "{preset: tiny, nf_p: 3, nf_d: 3, nb: 2, nf_n: 4}"


def save_small(path, scale=0.03, more=""):
    """Weights of a small network with their card."""
    save_weights(small_network(scale), path)
    path.with_suffix(".yml").write_text(f"options: {{network_G: {SMALL}{more}}}\n")
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def photograph():
    """Sharp (128, 160, 3) uint8, a kernel (9, 9), and the blurry image from 0 to 1, without noise."""
    sharp = quickstart()[0].image[64:192, 80:240]
    kernel = camera_shake(np.random.RandomState(5), 9)
    return sharp, kernel, blurred(sharp / 255, kernel)


@pytest.fixture
def project(tmp_path, photograph, weights):
    """A blurry image, its kernel, a folder of two."""
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


def errors(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


def test_the_shipped_weights_sharpen_a_photograph(project, photograph, capsys):
    sharp, _, blurry = photograph
    target = project / "s.png"
    assert run("--input", project / "blurry.png", "--kernel", project / "kernel.png", "--output", target) == 0
    said = capsys.readouterr()
    assert "blurry.png: kernel used as it is" in said.err
    assert said.out.startswith(f"{target} (")
    assert psnr(sharp, to_8bit(read_image(target))) > psnr(sharp, to_8bit(blurry)) + 4
    assert run("--input", target, "--kernel", "motion:12,20", "--output", project / "again.png") == 0
    assert "s.png: this kernel does not seem to explain the blur" in capsys.readouterr().err


def test_a_rotated_kernel_gives_the_same_result(project, weights, photograph, capsys):
    write_kernel(project / "rotated.png", rotated(photograph[1]))
    assert call(project, weights, output="a.png") == 0
    assert call(project, weights, kernel="rotated.png", output="b.png") == 0
    assert "kernel used rotated by 180 degrees" in capsys.readouterr().err
    assert call(project, weights, "--kernel-orientation", "rotated", kernel="rotated.png", output="c.png") == 0
    assert "kernel used" not in capsys.readouterr().err
    assert call(project, weights, "--kernel-orientation", "as-is", kernel="rotated.png", output="d.png") == 0
    images = [(project / f"{name}.png").read_bytes() for name in "abcd"]
    assert images[0] == images[1] == images[2] != images[3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_kernel_of_one_pixel_gives_the_image_itself(weights, random, capsys, dtype):
    values = random.uniform(size=(20, 24, 4))
    image = values.astype(dtype) if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)
    kernel = np.zeros((5, 5, 3))
    kernel[2, 2] = 1
    np.testing.assert_array_equal(deblur(image, kernel, weights=weights), image)
    np.testing.assert_array_equal(deblur(image[:2, :1], np.ones((1, 1)), weights=weights), image[:2, :1])
    assert "a single pixel, which blurs nothing" in capsys.readouterr().err
    assert not np.array_equal(deblur(image, np.roll(kernel, 1, 0), weights=weights), image)


def test_trace_and_compare(project, weights):
    assert call(project, weights, "--trace", "--compare") == 0
    names = ["sharp.png", "sharp_compare.png", "sharp_stage1.png", "sharp_stage2.png", "sharp_x0.png"]
    results = files_in(project / "out")
    assert sorted(results) == names
    assert results["sharp.png"] == results["sharp_stage2.png"]
    assert read_image(project / "out" / "sharp_compare.png").shape == (128, 2 * 160 + 4, 3)
    # With a kernel of one pixel every stage is the image.
    assert call(project, weights, "--trace", kernel="gaussian:0", output="same/a.png") == 0
    stages = files_in(project / "same").values()
    assert (len(stages), len(set(stages))) == (4, 1)


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


def test_options_change_the_result(project, weights, tmp_path, capsys):
    mask = np.full((128, 160, 1), 255, np.uint8)
    mask[40:44, 50:54] = 0
    write_8bit(project / "mask.png", mask)
    results = set()
    for n, extra in enumerate(([], ["--ensemble"], ["--precision", "bfloat16"], ["--mask", project / "mask.png"])):
        assert call(project, weights, *extra, output=f"{n}.tif") == 0
        results.add((project / f"{n}.tif").read_bytes())
    assert len(results) == 4
    assert "small.safetensors was not trained with masks" in capsys.readouterr().err
    assert call(project, weights, "--tile", "off", "--device", "cpu", output="off.tif") == 0
    assert (project / "off.tif").read_bytes() == (project / "0.tif").read_bytes()
    trained = save_small(tmp_path / "trained.safetensors", more=", datasets: {train: {masks: 0.2}}")
    assert call(project, trained, "--mask", "auto", output="b.png") == 0
    assert "not trained with masks" not in capsys.readouterr().err


def test_output_that_is_not_finite_is_an_error(project, photograph, tmp_path, weights, capsys):
    wild = save_small(tmp_path / "wild.safetensors", scale=1e12)
    assert call(project, wild) == 1
    assert "blurry.png: the restored image holds values that are not finite" in one_error(capsys)
    # Values near the type's largest one become infinite when the result is scaled back.
    bright = (photograph[2] / photograph[2].max() * np.finfo(np.float16).max).astype(np.float16)
    tifffile.imwrite(project / "bright.tif", bright, photometric="rgb")
    assert call(project, weights, source="bright.tif", output="out/bright.tif") == 1
    assert "bright.tif: the restored image holds values that are not finite" in one_error(capsys)
    assert not (project / "out").exists()


def test_a_folder_goes_on_where_it_was_interrupted(project, weights, monkeypatch, capsys):
    real, done = deblur_script.restore, []

    def interrupted(restorer, *arguments, **keys):
        if done:
            raise KeyboardInterrupt
        done.append(keys["where"])
        return real(restorer, *arguments, **keys)

    monkeypatch.setattr(deblur_script, "restore", interrupted)
    assert call(project, weights, source="photos", output="out") == 130
    assert list(files_in(project / "out")) == ["a.png"]
    first = (project / "out" / "a.png").stat().st_mtime_ns
    monkeypatch.undo()
    for extra, kept in (([], True), (["--overwrite"], False)):
        assert call(project, weights, *extra, source="photos", output="out") == 0
        assert ("1 of 2 images are done already" in capsys.readouterr().out) == kept
        assert sorted(files_in(project / "out")) == ["a.png", "b.png"]
        assert ((project / "out" / "a.png").stat().st_mtime_ns == first) == kept


def test_failing_files_of_a_folder_are_reported_and_the_rest_is_done(project, weights, capsys):
    (project / "photos" / "a.png").write_bytes(b"damaged")
    write_8bit(project / "photos" / "c.png", np.zeros((5, 5, 3), np.uint8))
    write_8bit(project / "photos" / "d.png", np.zeros((9, 9, 3), np.uint8))
    (project / "out" / "d.png").mkdir(parents=True)
    assert call(project, weights, source="photos", output="out") == 1
    messages = ("a.png: not a readable image", "c.png: a kernel of 9x9 pixels", "Is a directory")
    for error, message in zip(errors(capsys), messages, strict=True):
        assert message in error
    assert list(files_in(project / "out")) == ["b.png"]


@pytest.mark.parametrize(("number", "count"), [(errno.EIO, 2), (errno.ENOSPC, 1)])
def test_a_disk_that_fails(project, weights, monkeypatch, capsys, number, count):
    """A folder goes on unless the disk is full; nothing half-written is left."""

    def write(path, data):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("pathlib.Path.write_bytes", write)
    assert call(project, weights, source="photos", output="out") == 1
    begins = [f"error: {os.strerror(number)} ({project}/out/{name}.png)" for name in "ab"[:count]]
    for error, begin in zip(errors(capsys), begins, strict=True):
        assert error.startswith(begin)
        assert (" MB are free there" in error) == (number == errno.ENOSPC)
    assert list((project / "out").iterdir()) == []


def test_progress_in_a_file_is_a_line_for_every_tenth(capsys):
    with Progress(25, "tiles") as progress:
        for _ in range(25):
            progress.update()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("12 % of 25 tiles (")
    assert lines[-1].startswith("100 % of 25 tiles (")


def test_files_next_to_a_result_replace_neither_inputs_nor_other_results(project, weights, photograph, capsys):
    for option, name in (("--trace", "a_x0.png"), ("--compare", "a_compare.png")):
        (project / name).write_bytes((project / "blurry.png").read_bytes())
        before = files_in(project)
        assert call(project, weights, option, "--overwrite", source=name, output="a.png") == 1
        assert f"{name}: is an input, which is not overwritten" in one_error(capsys)
        assert files_in(project) == before
    write_8bit(project / "photos" / "a_stage1.png", to_8bit(photograph[2]))
    assert call(project, weights, "--trace", source="photos", output="out") == 1
    assert "a_stage1.png: would be written for two of the images" in one_error(capsys)
    assert not (project / "out").exists()


def test_files_next_to_a_result_are_kept_and_made_where_they_are_missing(project, weights, capsys):
    sheet = project / "out" / "sharp_compare.png"
    sheet.parent.mkdir()
    sheet.write_bytes(b"precious")
    assert call(project, weights, "--compare") == 1
    assert "sharp_compare.png: exists already" in one_error(capsys)
    assert files_in(project / "out") == {"sharp_compare.png": b"precious"}

    assert call(project, weights, source="photos", output="all") == 0
    (project / "all" / "b_compare.png").write_bytes(b"precious")
    before = files_in(project / "all")
    assert call(project, weights, "--compare", "--trace", source="photos", output="all") == 0
    after = files_in(project / "all")
    assert len(after) == 2 * 5
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("source", ["blurry.png", "photos"])
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("read only/new", "read only: cannot be written (Permission denied); choose another"),
        ("file", "file: cannot be written (Not a directory)"),
    ],
)
def test_no_output_folder_no_work(project, weights, capsys, monkeypatch, source, folder, message):
    monkeypatch.setattr(deblur_script, "restore", lambda *_, **__: pytest.fail("restored in vain"))
    (project / "read only").mkdir(mode=0o500)
    (project / "file").write_text("precious")
    before = files_in(project)
    with permissions_count():
        assert call(project, weights, source=source, output=f"{folder}/sharp") == 1
    assert one_error(capsys).startswith(f"error: {project}/{message}")
    assert files_in(project) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "gone.png"}, "gone.png: no such file"),
        ({"kernel": "gone.png"}, "gone.png: no such file; without a file, write motion:LENGTH,ANGLE"),
        ({"kernel": "disk:200"}, "a kernel of 401x401 pixels is larger than the image"),
        ({"output": "out/sharp.webp"}, "an image of type .png"),
        ({"output": "out/.png"}, ".png: the name before .png is missing"),
        ({"output": "link.png"}, "link.png: is an input, which is not overwritten"),
        ({"output": "kernel.png"}, "kernel.png: is an input, which is not overwritten"),
        ({"output": "old.png"}, "old.png: exists already; choose another --output, or --overwrite"),
        ({"source": "photos", "output": "photos"}, "is an input, which is not overwritten"),
        ({"source": "photos", "output": "out.png"}, "a folder is needed for the images of a folder"),
        ({"source": "empty", "output": "out"}, "empty: holds no .png"),
        (["--weights", "gone.pth"], "gone.pth: no such file or folder, and no preset"),
        (["--weights", "light"], "Models/README.md says where to get it"),
        (["--weights", "photos"], "photos/models/last.safetensors does not exist; has this training"),
        (["--preset", "light"], "leave the preset out, because small.yml describes the network"),
        (["--device", "cuda:99"], "device cuda:99: this machine has"),
        (["--device", ""], "device '': auto, cpu, cuda or cuda:N is expected"),
        (["--device", "mps"], "device mps: auto, cpu, cuda or cuda:N is expected"),
        (["--tile", "32"], "tile 32: this kernel needs tiles of at least"),
        (["--mask", "kernel.png"], "the mask has (9, 9) values, the image (128, 160) pixels"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(project, weights, capsys, monkeypatch, changes, message):
    (project / "old.png").write_bytes(b"precious")
    (project / "link.png").symlink_to(project / "blurry.png")
    (project / "empty").mkdir()
    monkeypatch.chdir(project)
    before = files_in(project)
    extra = changes if isinstance(changes, list) else ["--overwrite"] if "not overwritten" in message else []
    assert call(project, weights, *extra, **(changes if isinstance(changes, dict) else {})) == 1
    assert message in one_error(capsys)
    assert files_in(project) == before


def test_the_examples_are_made_where_they_are_missing(project, weights, monkeypatch):
    monkeypatch.setattr(deblur_script, "QUICKSTART", project / "Quickstart")
    kernel = project / "Quickstart" / "Kernel" / "coffee.png"
    assert call(project, weights) == 0
    assert not kernel.exists()
    assert call(project, weights, kernel=str(kernel), output="s.png") == 0
    assert kernel.is_file()


@pytest.mark.parametrize("command", [["codes/deblur.py"], ["-m", "codes.deblur"]])
def test_a_real_command_line_on_an_ascii_terminal(project, weights, command):
    """From another folder, and with names that the terminal cannot show."""
    (project / "blurry.png").rename(project / "ein Bild ü.png")
    command = [str(ROOT / part) if part.startswith("codes/") else part for part in command]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    paths = ["--input", "ein Bild ü.png", "--kernel", "kernel.png", "--output", "ö ut/ä.png", "--weights", weights]
    done = subprocess.run([sys.executable, *command, *paths], capture_output=True, cwd=project, env=environment)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert done.stdout.startswith(b"\\xf6 ut/\\xe4.png (")
    assert list(files_in(project / "ö ut")) == ["ä.png"]


def test_networks_by_name_file_and_folder_of_a_training(tmp_path, weights, monkeypatch):
    trained = load_network()
    assert trained.path == ROOT / "Models" / "dsdnet_tiny.safetensors"
    assert trained.trained_with_masks
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    assert read_yaml(trained.path.with_suffix(".yml"))["parameters"] == parameters
    folder = tmp_path / "experiments" / "own"
    (folder / "models").mkdir(parents=True)
    last, best = (folder / "models" / f"{name}.safetensors" for name in ("last", "best"))
    last.write_bytes(weights.read_bytes())
    with pytest.raises(UserError, match="which network is it"):
        load_network(folder)
    (folder / "options.yml").write_text("network_G: {which_model_G: Denoiser}\n")
    with pytest.raises(UserError, match="holds a Denoiser, which does not deblur"):
        load_network(last)
    # A network that trains with the true noise level is not a denoiser.
    monkeypatch.setattr(Network, "uses_true_sigma", True)
    (folder / "options.yml").write_text(f"network_G: {SMALL}\ndatasets: {{train: {{masks: 0.1}}}}\n")
    assert load_network(folder).path == last
    assert load_network(folder).trained_with_masks
    with pytest.raises(UserError, match=r"leave the preset out, because options\.yml describes the network"):
        load_network(folder, "light")
    best.write_bytes(weights.read_bytes())
    monkeypatch.setattr("codes.restoration.networks.ROOT", tmp_path)
    assert load_network("experiments/own").path == best
    best.with_suffix(".yml").write_text(f"options: {{network_G: {SMALL}}}\n")
    assert not load_network(folder).trained_with_masks


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
    restored = deblur(image, kernel * 7, weights=weights, mask=mask, tile="off")
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    assert np.isfinite(restored).all()
    if dtype.kind == "f":
        assert restored.min() >= 0
        assert restored.max() <= 1
    if channels in (2, 4):
        np.testing.assert_array_equal(restored[..., -1], image[..., -1])


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (np.ones(3), {}, "the kernel: a kernel is a two-dimensional"),
        (np.arange(27.0).reshape(3, 3, 3), {}, "is grey, but the kernel has a channel"),
        (np.eye(3), {"orientation": "as_is"}, "orientation 'as_is': auto, as-is, rotated"),
        (np.eye(3), {"gamma": "sRGB"}, "gamma 'sRGB': auto, none, srgb, 2.2 are possible"),
        (np.eye(3), {"mask": "automatic"}, "mask 'automatic': 'auto' or an array"),
        (np.eye(3), {"mask": np.full((8, 8), np.nan)}, "a mask is made of finite numbers"),
    ],
)
def test_impossible_arguments_of_the_call(weights, kernel, options, message):
    with pytest.raises(UserError, match=message):
        deblur(np.zeros((8, 8)), kernel, weights=weights, **options)


def test_the_call_equals_the_command_line(project, weights):
    assert call(project, weights) == 0
    kernel = cv2.imread(str(project / "kernel.png"), cv2.IMREAD_GRAYSCALE).astype(float)
    image = cv2.imread(str(project / "blurry.png"))[..., ::-1]
    restored = deblur(image, rotated(kernel), weights=weights)
    np.testing.assert_array_equal(restored, to_8bit(read_image(project / "out" / "sharp.png")))
    by_hub = torch.hub.load(str(ROOT), "deblur", image, kernel, source="local", weights=weights)
    np.testing.assert_array_equal(by_hub, restored)
    by_name = deblur(image, str(project / "kernel.png"), weights=weights)
    np.testing.assert_array_equal(by_name, deblur(image, kernel, weights=weights))


def test_dim_and_bright_images_are_restored_as_ordinary_ones(photograph, capsys):
    sharp, kernel, blurry = photograph
    sharp, blurry = sharp[:80, :96], blurry[:80, :96].astype(np.float32)
    least = psnr(sharp, to_8bit(deblur(blurry, kernel, orientation="as-is"))) - 0.5
    assert "multiplied" not in capsys.readouterr().err
    for factor, dtype in ((1e-4, np.float32), (30.0, np.float32), (4095, np.uint16)):
        restored = deblur((factor * blurry).astype(dtype), kernel, orientation="as-is")
        assert psnr(sharp, to_8bit(restored / factor)) > least
        assert "of full scale), multiplied after restoring" in capsys.readouterr().err

    hot = blurry.copy()
    hot[20, 30], hot[50, 60] = 1e6, -1e6
    restored = deblur(hot, kernel, orientation="as-is")
    assert "6 values below 0 or beyond" in capsys.readouterr().err
    assert psnr(sharp[:, 70:], to_8bit(restored[:, 70:])) > psnr(sharp[:, 70:], to_8bit(blurry[:, 70:])) + 2


def test_restoration_in_linear_light(project, photograph, weights):
    """The values are decoded, restored and encoded; `auto` is `none`. studies/gamma.py measures when it helps."""
    kernel = photograph[1]
    values = (photograph[2] / photograph[2][:48, :64].max())[:48, :64].astype(np.float32)  # not dim as light either
    settings = {"weights": weights, "orientation": "as-is"}
    by_hand = encoded(deblur(decoded(values), kernel, **settings)).clip(0, 1)
    found = {gamma: deblur(values, kernel, gamma=gamma, **settings) for gamma in ("auto", "none", "srgb", "2.2")}
    np.testing.assert_allclose(found["srgb"], by_hand, atol=2e-6)
    np.testing.assert_array_equal(found["auto"], found["none"])
    for gamma, other in (("srgb", "none"), ("2.2", "none"), ("2.2", "srgb")):
        assert np.abs(found[gamma] - found[other]).max() > 0.003
    arguments = ("--gamma", "srgb", "--kernel-orientation", "as-is", "--trace")
    assert call(project, weights, *arguments, source="photos/a.png", output="s.png") == 0
    image = np.asarray(Image.open(project / "photos" / "a.png"))
    restored = deblur(image, str(project / "kernel.png"), gamma="srgb", **settings)
    np.testing.assert_array_equal(to_8bit(read_image(project / "s.png")), restored)
    assert (project / "s.png").read_bytes() == (project / "s_stage2.png").read_bytes()


@pytest.mark.parametrize("gamma", ["none", "srgb", "2.2"])
def test_gamma_is_undone(gamma):
    values = np.linspace(0, 1.5, 50, dtype=np.float32)
    np.testing.assert_allclose(to_values(to_light(values, gamma), gamma), values, atol=1e-6)
    assert (to_light(np.float32([0.5]), gamma) < 0.23) == (gamma != "none")
    assert to_values(np.float32([-0.1]), gamma) <= 0
    slope = {"none": 1, "srgb": 0.926, "2.2": 2.2 * 0.5**1.2}[gamma]
    assert noise_in_light(0.02, gamma) == pytest.approx(0.02 * slope, rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_four_megapixel_image(photograph):
    sharp = np.tile(photograph[0], (16, 13, 1))[:2000, :2048]
    kernel = camera_shake(np.random.RandomState(5), 31)
    image = to_8bit(blurred(sharp / 255, kernel))
    restored = deblur(image, kernel, gigabytes=2.5)
    assert restored.shape == image.shape
    assert psnr(sharp, restored) > psnr(sharp, image) + 3


def blur(project, *arguments, output="set"):
    words = ["--input", project / "photos", "--output", project / output, *arguments]
    return run_command_line(blur_images.main, [str(word) for word in words])


@pytest.mark.parametrize("kernel", ["shake:9", "motion:5,30", "kernels"])
def test_blurred_images_follow_the_forward_model(project, random, monkeypatch, capsys, kernel):
    monkeypatch.chdir(project)
    write_kernel(project / "kernels" / "k.png", camera_shake(random, 7))
    assert blur(project, "--kernel", kernel, "--noise", "0") == 0
    assert f"dataroot_LQ: {project}/set/Blurry" in capsys.readouterr().out
    assert sorted(files_in(project / "set")) == [f"{kind}/{x}.png" for kind in ("Blurry", "GT", "Kernel") for x in "ab"]
    for triple in TripleDataset(*(project / "set" / kind for kind in ("GT", "Blurry", "Kernel"))):
        np.testing.assert_array_equal(triple.ground_truth, read_image(project / "photos" / f"{triple.name}.png"))
        expected = blurred(triple.ground_truth, triple.kernel)
        np.testing.assert_array_equal(to_8bit(triple.blurry), to_8bit(expected))
    kernels = files_in(project / "set" / "Kernel")
    assert (kernels["a.png"] != kernels["b.png"]) == kernel.startswith("shake")


def test_the_option_file_entry_can_be_copied(project, capsys):
    folder = "My set, old: n"
    assert blur(project, "--kernel", "motion:3,0", output=folder) == 0
    entry = yaml.safe_load(capsys.readouterr().out.partition("under datasets:\n")[2])["own"]
    assert TestSet(**entry).dataroot_LQ == str(project / folder / "Blurry")


def test_images_to_blur_are_upright(project, random):
    stored, exif = random.randint(0, 256, (30, 40, 3)).astype(np.uint8), Image.Exif()
    exif[274] = 6  # a viewer rotates it clockwise by 90 degrees
    for path in (project / "photos").iterdir():
        path.unlink()
    Image.fromarray(stored).save(project / "photos" / "portrait.png", exif=exif.tobytes())
    assert blur(project, "--kernel", "motion:5,90") == 0
    truth = to_8bit(read_image(project / "set" / "GT" / "portrait.png"))
    np.testing.assert_array_equal(truth, np.rot90(stored, -1))


def test_the_seed_decides_and_the_noise_has_its_level(project):
    for output, seed in (("one", 3), ("same", 3), ("other", 4)):
        assert blur(project, "--kernel", "motion:1,0", "--noise", "2", "--seed", seed, output=output) == 0
    one, same, other = (files_in(project / name) for name in ("one", "same", "other"))
    assert one == same
    assert one["Blurry/a.png"] != other["Blurry/a.png"]
    truth, blurry = (read_image(project / "one" / folder / "a.png") for folder in ("GT", "Blurry"))
    noise = (blurry - truth)[(truth > 0.1) & (truth < 0.9)]  # of values that are not clipped
    assert noise.std() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kernel", "shake:10"], "needs an odd number from 5 to 501"),
        (["--kernel", "disk:40"], "larger than the image"),
        (["--noise", "nan"], "--noise nan: 0 to 100 percent"),
        ([], "GT: is not empty; choose another --output"),
        (["--output", "photos"], "is the folder of the sharp images"),
    ],
)
def test_mistakes_of_blur_images(project, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(project)
    if not arguments:
        write_8bit(project / "set" / "GT" / "old.png", np.zeros((3, 3, 1), np.uint8))
    before = files_in(project)
    assert blur(project, *arguments) == 1
    assert message in one_error(capsys)
    assert files_in(project) == before
