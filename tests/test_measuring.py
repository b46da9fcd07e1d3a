"""The measuring scripts: they run, say what is wrong with their arguments, and keep published files."""

import ast

import numpy as np
import pytest
import torch

from codes.data import preparation
from codes.models.archs.blur import Blur
from codes.restoration import orientation
from codes.scripts import (
    benchmark,
    check_parity,
    fit_orientation,
    measure_crossover,
    measure_identity,
    measure_large,
    measure_masks,
    measure_orientation,
    measure_tiling,
    tune_baselines,
)
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, read_csv, write_csv


def test_benchmark(tmp_path):
    output = tmp_path / "speed.csv"
    arguments = ["--preset", "feather", "--size", "24", "32", "--kernels", "5", "--runs", "1", "--output", str(output)]
    assert run_command_line(benchmark.main, arguments) == 0
    (row,) = read_csv(output)
    assert row["network"] == "feather"
    assert float(row["max_difference"]) < 1e-4
    assert float(row["ratio"]) > 0


def test_crossover(tmp_path):
    output = tmp_path / "crossover.csv"
    assert run_command_line(measure_crossover.main, ["--runs", "1", "--output", str(output)]) == 0
    assert len(read_csv(output)) == len(measure_crossover.SIZES)


def test_the_blurs_default_is_the_published_measurements():
    """The blur's default method is the faster one at every kernel size, H and H' together."""
    default = Blur(torch.ones(1, 1, 1), (4, 4)).method
    for row in read_csv(ROOT / "results" / "published" / "blur_crossover.csv"):
        milliseconds = {kind: float(row[f"{kind}_ms"]) + float(row[f"{kind}_adjoint_ms"]) for kind in ("direct", "fft")}
        assert min(milliseconds, key=milliseconds.get) == default, row


def test_check_parity(shared, tmp_path):
    output = tmp_path / "parity.csv"
    arguments = ["--fixtures", str(shared / "parity"), "--output", str(output)]
    assert run_command_line(check_parity.main, arguments) == 0
    assert len(read_csv(output)) == 5 * 2 + 3 + 3 * 4


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (benchmark, ["--runs", "0"]),
        (benchmark, ["--preset", "plus_e"]),
        (benchmark, ["--kernels", "-1"]),
        (measure_crossover, ["--runs", "x"]),
        (tune_baselines, ["--images", "0"]),
    ],
)
def test_impossible_arguments(script, arguments):
    with pytest.raises(SystemExit) as exit_status:
        script.main(arguments)
    assert exit_status.value.code == 2


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
@pytest.mark.parametrize("script", [benchmark, measure_crossover])
def test_a_device_that_is_not_there(script, device, capsys):
    assert run_command_line(script.main, ["--device", device]) == 1
    assert capsys.readouterr().err.startswith(f"error: --device {device}: ")


def test_missing_fixtures(tmp_path, capsys):
    assert run_command_line(check_parity.main, ["--fixtures", str(tmp_path)]) == 1
    assert "holds no fixtures" in capsys.readouterr().err


def test_orientation_of_a_small_set(tmp_path, capsys):
    """Judged images are not judged again; the kernels of Quickstart, rotated, are all turned back."""
    options = ["-opt", str(ROOT / "options" / "test" / "quickstart.yml")]
    preparation.ensure_quickstart(ROOT / "Datasets" / "Quickstart")
    arguments = [*options, "--output", str(tmp_path / "o.csv"), "--per-image", str(tmp_path / "each.csv")]
    assert run_command_line(measure_orientation.main, arguments) == 0
    rows = read_csv(tmp_path / "o.csv")
    assert [row["set"] for row in rows] == ["Quickstart 1 %", "Quickstart 3 %", "Quickstart 5 %"]
    assert all(row["images"] == row["right"] == "4" for row in rows)
    each = read_csv(tmp_path / "each.csv")
    write_csv(tmp_path / "each.csv", [each[0] | {"turned_back": 0}, *each[1:]], list(each[0]))
    assert run_command_line(measure_orientation.main, arguments) == 0
    assert read_csv(tmp_path / "o.csv")[0]["right"] == "3"


@pytest.mark.slow
def test_fit_orientation(tmp_path, capsys):
    if not (ROOT / "Datasets" / "Validation").is_dir():
        pytest.skip("Datasets/Validation could not be built without ../shared")
    output = tmp_path / "fit.csv"
    assert run_command_line(fit_orientation.main, ["--images", "1", "--output", str(output)]) == 0
    assert {row["kernel"] for row in read_csv(output)} == {"right", "other", "no blur"}
    assert "orientation right: 8 of 8" in capsys.readouterr().out


def test_the_published_fit_gives_the_constants(capsys):
    rows = read_csv(fit_orientation.CASES)
    lines = fit_orientation.report(rows).splitlines()
    for line in lines[:3]:
        name, value = line.split(" = ")
        expected, used = (np.atleast_1d(number) for number in (ast.literal_eval(value), getattr(orientation, name)))
        np.testing.assert_allclose(used, expected, rtol=0.02)


def test_tiling(tmp_path):
    if not (ROOT / "Datasets" / "Train").is_dir():
        pytest.skip("Datasets/Train could not be built without ../shared")
    arguments = ["--size", "160", "176", "--kernels", "1", "--sides", "48", "64", "--output", str(tmp_path)]
    assert run_command_line(measure_tiling.main, arguments) == 0
    (row,) = read_csv(tmp_path / "tiling.csv")
    assert row["kernel"] == "1x1"
    assert float(row["max_difference"]) < 3
    assert {row["what"] for row in read_csv(tmp_path / "tiling_memory.csv")} == {"x0", "network"}


def test_identity(tmp_path):
    output = tmp_path / "identity.csv"
    assert run_command_line(measure_identity.main, ["--sets", "Quickstart", "--output", str(output)]) == 0
    (row,) = read_csv(output)
    assert float(row["least_psnr"]) > 40


def test_large(tmp_path):
    if not (ROOT / "Datasets" / "Train").is_dir():
        pytest.skip("Datasets/Train could not be built without ../shared")
    output = tmp_path / "large.csv"
    assert run_command_line(measure_large.main, ["--size", "64", "80", "--kernel", "5", "--output", str(output)]) == 0
    (row,) = read_csv(output)
    assert float(row["psnr"]) > float(row["psnr_blurry"])
    assert 0.1 < float(row["peak_gb"]) < 8


def test_masks(tmp_path, random):
    """Goes on where it was; other classes are left out."""
    sharp = [
        preparation.Sharp(name, (64 * random.randint(0, 5, (40, 48, 3))).clip(0, 255).astype(np.uint8), np.eye(5) / 5)
        for name in ("natural_1", "saturated_1")
    ]
    preparation.build_shared(tmp_path / "Lai", sharp, iter)
    (tmp_path / "Lai" / "Noise_01").rename(tmp_path / "Lai" / "BL")
    arguments = ["--data", tmp_path / "Lai", "--results", tmp_path / "each", "--output", tmp_path / "masks.csv"]
    for _ in range(2):
        assert run_command_line(measure_masks.main, list(map(str, arguments))) == 0
    rows = read_csv(tmp_path / "masks.csv")
    assert [(row["mask"], row["images"]) for row in rows] == [("none", "1"), ("auto", "1")]
    assert len(read_csv(tmp_path / "each" / "dsdnet_tiny.csv")) == 2
    assert run_command_line(measure_masks.main, ["--data", str(tmp_path)]) == 1
