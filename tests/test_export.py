"""torch.export of the network."""

import pytest
import torch

from codes.scripts import export_network
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT

WEIGHTS = str(ROOT / "Models" / "dsdnet_tiny.safetensors")
SIZES = ["--size", "33", "40", "--kernel", "7"]


@pytest.mark.slow
def test_the_exported_network_restores_without_its_code(tmp_path):
    path = tmp_path / "tiny.pt2"
    assert run_command_line(export_network.main, ["--weights", WEIGHTS, *SIZES, "--out", str(path)]) == 0
    restore = torch.export.load(path).module()
    assert restore(torch.rand(1, 3, 33, 40), torch.full((1, 7, 7), 1 / 49)).shape == (1, 3, 33, 40)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_ahead_of_time_it_restores_alike(tmp_path, capsys):
    path = tmp_path / "tiny.pt2"
    assert run_command_line(export_network.main, ["--weights", WEIGHTS, *SIZES, "--aot", "--out", str(path)]) == 0
    assert "differs from the eager network by less than" in capsys.readouterr().out
    restore = torch._inductor.aoti_load_package(str(path))
    assert restore(torch.rand(1, 3, 33, 40), torch.full((1, 7, 7), 1 / 49)).shape == (1, 3, 33, 40)


def test_another_suffix_is_refused(tmp_path, capsys):
    arguments = ["--weights", WEIGHTS, *SIZES, "--out", str(tmp_path / "tiny.onnx")]
    assert run_command_line(export_network.main, arguments) == 1
    assert "has to end in .pt2" in capsys.readouterr().err
