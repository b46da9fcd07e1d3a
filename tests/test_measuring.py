"""The measuring scripts: they run, say what is wrong with their arguments, and keep published files."""

import pytest
import torch

from codes.models.archs.blur import Blur
from codes.scripts import benchmark, check_parity, measure_crossover, tune_baselines
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, read_csv


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
