"""codes/scripts/check_gpu.py: its checks run without a GPU, and find what is wrong."""

import pytest
import torch

from codes.models.paper.dsdnet import DSDNet
from codes.scripts import check_gpu
from codes.utils.errors import run_command_line
from tests.conftest import one_error

SMALL = ["--device", "cpu", "--presets", "tiny", "--size", "48", "64"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(check_gpu, "PATCH", 32)
    monkeypatch.setattr(check_gpu, "RUNS", 1)


def table(capsys):
    """The rows of the printed table by the name of the check."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def test_the_checks_run_on_a_cpu(capsys, shared, monkeypatch, tmp_path):
    monkeypatch.setattr(DSDNet, "compile", lambda network, **_: None)  # the compiler takes minutes on a CPU
    monkeypatch.setattr(check_gpu, "training_on_all", lambda device: [])
    (tmp_path / "dsdnet_a.pt").symlink_to(shared / "parity" / "dsdnet_a.pt")
    assert run_command_line(check_gpu.main, [*SMALL, "--fixtures", str(tmp_path)]) == 0
    rows = table(capsys)
    assert torch.__version__ in rows["device"][0]
    assert {row[2] for name, row in rows.items() if name != "check"} == {"yes"}
    assert float(rows["parity, dsdnet_a"][0]) < 2e-5
    assert float(rows["tiny: restoring, float32: difference from the CPU"][0]) == 0
    assert float(rows["tiny: restoring, bfloat16: difference from the CPU"][0]) > 2e-5
    assert {"tiny: training, amp compile: seconds a step", "tiny: graph breaks"} < rows.keys()


@pytest.mark.slow
def test_a_training_with_one_process_for_each_gpu():
    (row,) = check_gpu.training_on_all(torch.device("cpu"))
    assert (row.check, row.ok) == ("1 process(es)", True)
    assert row.result.startswith("Trained 10 iterations")


def test_a_failure_is_a_row(capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("cuFFT error:\nCUFFT_INTERNAL_ERROR")

    monkeypatch.setattr(check_gpu, "IMAGE_BAR", -1)
    for name in ("training", "graph_breaks", "training_on_all"):
        monkeypatch.setattr(check_gpu, name, fail)
    assert run_command_line(check_gpu.main, SMALL) == 1
    rows = table(capsys)
    assert rows["tiny: training"] == ["RuntimeError: cuFFT error: CUFFT_INTERNAL_ERROR", "", "NO"]
    assert rows["tiny: restoring, float32: difference from the CPU"][2] == "NO"
    assert rows["tiny: restoring, bfloat16: difference from the CPU"][2] == "yes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "sees no GPU here; --device cpu tries out the checks without one"),
        (["--device", "cpu", "--fixtures", "nowhere"], "--fixtures nowhere: no *.pt in this folder"),
    ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_command_line(check_gpu.main, arguments) == 1
    assert message in one_error(capsys)
