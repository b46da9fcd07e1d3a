"""The studies, the benchmark and the parity check: they run, they resume nothing wrong, and mistakes are one line."""

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from torch.utils.flop_counter import FlopCounterMode

from codes.data import preparation
from codes.data.images import write_8bit
from codes.models.factory import build_preset
from codes.restoration.networks import load_network
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, read_csv
from studies import benchmark, check_parity, gamma, harness, identity, large, masks, orientation, tiling
from studies.complexity import flop_by_part, seconds_to_restore
from tests.conftest import one_error


@pytest.fixture
def option_file(tmp_path):
    """A training option file with a small network of two of the paper's stages."""
    path = tmp_path / "two.yml"
    path.write_text("network_G: {which_model_G: DSDNet, nb: 2, nf_p: 2, nf_d: 2}\n")
    return path


def test_benchmark_of_restoring(tmp_path, option_file, monkeypatch):
    monkeypatch.setattr(benchmark, "PEAK_SIDE", 64)
    monkeypatch.setattr(benchmark, "PEAK_SIZE", 8)
    cases = ["tiny:24x32:5", f"{option_file}:24x32:5"]
    assert run_command_line(benchmark.main, ["--cases", *cases, "--runs", "1", "--output", str(tmp_path)]) == 0
    rows = read_csv(tmp_path / "speed.csv")
    assert [row["network"] for row in rows] == ["tiny"] * 3 + ["two"] * 3
    assert [row["version"] for row in rows] == ["literal", "ours, float32", "ours, bfloat16"] * 2
    assert all(float(row["max_difference"]) < 1e-4 for row in rows if row["version"] == "ours, float32")
    assert all(float(row["ratio"]) > 0 for row in rows)
    parts = read_csv(tmp_path / "speed_parts.csv")
    assert len(parts) == 2 * 7
    assert all(float(row["gflop"]) >= 0 for row in parts)


def test_the_peak_is_the_better_rate_of_a_matrix_product_and_a_convolution(monkeypatch):
    monkeypatch.setattr(benchmark, "PEAK_SIDE", 64)
    monkeypatch.setattr(benchmark, "PEAK_SIZE", 8)
    versions, timings = benchmark.versions_of_peak(torch.device("cpu"), "float32"), {}
    for name, version in versions.items():
        with FlopCounterMode(display=False) as counter:
            operations = version()
        assert operations == counter.get_total_flops()
        timings[name] = benchmark.Timing(2.0, 2.0, None, 1, operations)
    largest = max(timings, key=lambda name: timings[name].result)
    assert largest == "convolution, float32"
    assert benchmark.peak_rate(timings, "float32") == timings[largest].result / 2
    other = timings["product, float32"]
    timings["product, float32"] = other._replace(seconds=1e-9)
    assert benchmark.peak_rate(timings, "float32") == pytest.approx(1e9 * other.result)


def test_the_first_restoration_does_not_count(monkeypatch):
    clock, duration = [0.0], iter([9.0, 5.0, 1.0, 1.0])
    monkeypatch.setattr("studies.complexity.time.perf_counter", lambda: clock[0])

    def network(*_):
        clock[0] += next(duration)

    assert seconds_to_restore(network, torch.empty(1), torch.empty(1)) == 1.0


def test_benchmark_uses_the_weights_of_a_preset_if_there_are_some():
    measured, shipped = benchmark.network_of(benchmark.parse("tiny:9x9:3")), load_network("tiny").network
    for one, other in zip(measured.parameters(), shipped.parameters(), strict=True):
        assert torch.equal(one, other)
    assert benchmark.network_of(benchmark.parse("feather:9x9:3")).n_iter == 2


def test_benchmark_of_training(tmp_path, option_file, monkeypatch):
    """Rows of another setting stay."""
    monkeypatch.setattr(benchmark, "TRAINING_AT", "16x16:3")
    fixed = ["--training", "--runs", "1", "--output", str(tmp_path)]
    for which in (["-opt", str(option_file)], ["--batch", "2", "--cases", f"{option_file}:16x16:3"]):
        assert run_command_line(benchmark.main, [*fixed, *which]) == 0
    rows = read_csv(tmp_path / "training_speed.csv")
    steps = ["literal", "ours, float32", "ours, bfloat16", "ours, float32, checkpoint_stages"]
    assert [(row["step"], row["network"], row["batch"]) for row in rows] == [
        (step, "two", batch) for batch in "42" for step in steps
    ]
    assert all(float(row["ratio"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "lite:9x9:3"], "unknown preset 'lite'"),
        (["--cases", "light:9:3"], "'light:9:3' is not of the form"),
        (["--cases", "light:9x9:-1"], "is not of the form"),
        (["--cases", "tiny:8x8:4"], "odd sides"),
        (["--cases", "tiny:8x8:3", "tiny:8x8:3"], "two have the same name"),
        (["--cases", "plus_e:9x9:3"], "no literal version"),
        (["--device", "cuda:99"], "device cuda:99: "),
        (["--device", "gpu"], "device gpu: "),
    ],
)
def test_mistakes_in_the_benchmark_are_one_line(arguments, message, capsys):
    assert run_command_line(benchmark.main, arguments) == 1
    assert message in one_error(capsys)


def test_operations_by_part():
    """Compared with the sizes of the convolutions: 2 * 9 operations per pixel, candidate and Maxout, and so on."""
    parts = flop_by_part(build_preset("feather"), torch.rand(1, 3, 32, 48), torch.rand(1, 5, 5))
    pixels, stages, filters = 32 * 48, 2, 24
    assert parts["Maxout"] == stages * 2 * filters * 8 * 9 * 2 * pixels
    # Per stage: F x, G y, G H x, F r, G H r and four adjoints, and the 3x3 averages.
    bank = filters * 3 * 49 * 2 * pixels
    assert parts["filters"] == pytest.approx(stages * 9 * bank, rel=1e-9)
    assert parts["NLNet"] == stages * (2 * 9 * (6 * 64 + 64 * 64 + 64 * 3) + (3 + 1) * 2 * 9) * pixels
    assert 0 < parts["blur"] < parts["filters"] < parts["U-Net"]


def test_check_parity(shared, tmp_path, capsys):
    output = tmp_path / "parity.csv"
    arguments = ["--fixtures", str(shared / "parity"), "--output", str(output)]
    assert run_command_line(check_parity.main, arguments) == 0
    assert len(read_csv(output)) == 5 * 2 + 3 + 3 * 4
    assert run_command_line(check_parity.main, ["--fixtures", str(tmp_path)]) == 1
    assert "no fixtures (*.pt)" in one_error(capsys)


def test_orientation_of_a_small_set(tmp_path):
    """A rotated kernel is turned back except where noise hides it."""
    preparation.ensure_quickstart(ROOT / "Datasets" / "Quickstart")
    options = ["-opt", str(ROOT / "options" / "test" / "quickstart.yml")]
    assert run_command_line(orientation.main, [*options, "--output", str(tmp_path)]) == 0
    rows = read_csv(tmp_path / "orientation.csv")
    assert [row["set"] for row in rows] == ["Quickstart 1 %", "Quickstart 3 %", "Quickstart 5 %"]
    assert [(row["images"], row["right"]) for row in rows] == [("4", "4"), ("4", "4"), ("4", "3")]


@pytest.fixture
def photographs():
    """Arguments that make a mosaic of the scikit-image package's photographs."""
    preparation.ensure_quickstart(ROOT / "Datasets" / "Quickstart")
    return ["--images", str(ROOT / "Datasets" / "Quickstart" / "GT")]


def test_tiling(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr(tiling, "build_preset", lambda name: build_preset(name, nf_p=4, nf_d=4, nb=1))
    arguments = ["--size", "48", "208", "--kernels", "1", "9", "--sides", "48", "64", "--output", str(tmp_path)]
    assert run_command_line(tiling.main, [*arguments, *photographs]) == 0
    rows = read_csv(tmp_path / "tiling.csv")
    assert [row["kernel"] for row in rows] == ["1x1", "9x9"]
    assert all(float(row["max_difference"]) < 3 for row in rows)
    assert {row["what"] for row in read_csv(tmp_path / "tiling_memory.csv")} == {"x0", "network"}


@pytest.mark.parametrize("study", [tiling, large])
def test_too_few_images_for_a_mosaic(study, tmp_path, photographs, capsys):
    """Four photographs are not enough for 1500 columns."""
    arguments = ["--size", "64", "1500", "--output", str(tmp_path / "x"), *photographs]
    assert run_command_line(study.main, arguments) == 1
    assert "needs 5 colour images of at least 256 rows and 320 columns, but there are 4" in one_error(capsys)
    assert not (tmp_path / "x").exists()


def test_mosaic(tmp_path):
    """The corners of four colour images, row by row. A grey and a narrow one are skipped."""
    shapes = {"0": (256, 320, 1), "1": (300, 300, 3)} | {str(i): (260, 330 + i, 3) for i in range(2, 6)}
    for name, shape in shapes.items():
        write_8bit(tmp_path / f"{name}.png", np.full(shape, 40 * int(name), np.uint8))
    corners = harness.mosaic(300, 330, tmp_path)[[0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert np.round(255 * corners).tolist() == [80, 120, 160, 200]


def test_memory_keeps_to_the_plan():
    """The constants that tiles are planned with are at least the measured ones, and are the published ones."""
    for row in read_csv(harness.PUBLISHED / "tiling_memory.csv"):
        assert int(row["bytes_a_pixel"]) <= int(row["planned"])
        planned = tiling.X0_BYTES if row["what"] == "x0" else build_preset(row["network"]).bytes_per_pixel
        assert int(row["planned"]) == planned


def test_identity(tmp_path):
    """The published numbers of the quickstart images are those of the weights in Models/."""
    assert run_command_line(identity.main, ["--sets", "Quickstart", "--output", str(tmp_path)]) == 0
    (row,) = read_csv(tmp_path / "identity.csv")
    published = read_csv(harness.PUBLISHED / "identity.csv")[0]
    assert (row["set"], row["images"]) == (published["set"], published["images"])
    for key in ("mean_psnr", "worst_psnr"):
        assert float(row[key]) == pytest.approx(float(published[key]), abs=0.05)


@pytest.mark.xfail(reason="the shipped network removes the grain of an image without blur as noise", strict=True)
def test_the_network_alone_keeps_an_image_without_blur():
    assert float(read_csv(harness.PUBLISHED / "identity.csv")[0]["worst_psnr"]) > 40


def test_large(tmp_path, photographs):
    arguments = ["--size", "64", "80", "--kernel", "5", "--output", str(tmp_path), *photographs]
    assert run_command_line(large.main, arguments) == 0
    (row,) = read_csv(tmp_path / "large.csv")
    assert float(row["psnr"]) > float(row["psnr_blurry"])
    assert 0.1 < float(row["peak_gb"]) < 8


def test_gamma(tmp_path):
    """Restoration is best in the light or the values in which the image was blurred."""
    write_8bit(tmp_path / "Validation" / "GT" / "a.png", skimage_data.rocket()[200:380, 200:380])
    assert run_command_line(gamma.main, ["--data", str(tmp_path), "--output", str(tmp_path)]) == 0
    values, light = read_csv(tmp_path / "gamma.csv")
    assert (values["blurred_in"], light["blurred_in"]) == ("values", "linear light")
    assert float(values["none"]) > float(values["srgb"]) > float(values["blurry"])
    assert float(light["srgb"]) > float(light["none"]) > float(light["blurry"])


def test_masks(tmp_path, random):
    """Only Lai's saturated images count; a mask helps a great deal with dead pixels."""
    sharp = [
        preparation.Sharp(name, (64 * random.randint(0, 5, (40, 48, 3))).clip(0, 255).astype(np.uint8), np.eye(5) / 5)
        for name in ("natural_1", "saturated_1")
    ]
    preparation.synthesise(tmp_path / "Lai", sharp)
    (tmp_path / "Lai" / "Noise_01").rename(tmp_path / "Lai" / "BL")
    photograph = preparation.Sharp("photograph", skimage_data.astronaut()[100:164, 200:272], np.eye(5) / 5)
    preparation.synthesise(tmp_path / "Validation", [photograph])
    assert run_command_line(masks.main, ["--data", str(tmp_path), "--output", str(tmp_path)]) == 0
    rows = read_csv(tmp_path / "masks.csv")
    assert [(row["what"], row["mask"], row["images"]) for row in rows] == [
        (what, mask, "1") for what in ("clipped highlights", "dead pixels") for mask in ("no", "yes")
    ]
    assert float(rows[3]["psnr"]) > float(rows[2]["psnr"]) + 1
