"""The restorer's layout and precision."""

import copy

import numpy as np
import pytest
import torch

from codes.models.paper.blur import Blur
from codes.models.factory import build_preset
from codes.models.restorer import Restorer, choose_device
from codes.models.weights import load_weights
from codes.utils.errors import UserError
from codes.utils.files import ROOT

WEIGHTS = ROOT / "Models" / "dsdnet_tiny.safetensors"


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    network = build_preset("tiny")
    load_weights(network, WEIGHTS)
    return network


@pytest.fixture
def blurry_and_kernel(random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    sharp = (
        torch.from_numpy(random.rand(1, 3, 12, 14).astype(np.float32)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    )
    kernel = torch.full((1, 5, 5), 1 / 25)
    blurry = Blur(kernel, sharp.shape[-2:])(sharp) + 0.01 * torch.randn_like(sharp)
    return blurry[0].permute(1, 2, 0).numpy(), kernel[0].numpy()


def test_the_layout_changes_nothing(tiny, blurry_and_kernel):
    blurry, kernel = blurry_and_kernel
    restored = Restorer(copy.deepcopy(tiny)).restore(blurry, kernel).image
    with torch.inference_mode():
        plain = tiny(torch.from_numpy(blurry).permute(2, 0, 1)[None].contiguous(), torch.from_numpy(kernel)[None])
    np.testing.assert_allclose(restored, plain[0].permute(1, 2, 0), atol=2e-5)


def test_bfloat16_is_close_to_float32_but_not_the_same(tiny, blurry_and_kernel):
    images = {
        precision: Restorer(copy.deepcopy(tiny), precision=precision).restore(*blurry_and_kernel).image
        for precision in ("float32", "bfloat16")
    }
    difference = np.abs(images["bfloat16"] - images["float32"])
    assert 0 < difference.mean() < 1e-3
    assert images["bfloat16"].dtype == np.float32


def test_float16_on_a_cpu_is_refused(tiny):
    with pytest.raises(UserError, match="float16 is for GPUs"):
        Restorer(tiny, precision="float16")


@pytest.mark.parametrize(
    ("gpu_ids", "there", "devices"),
    [
        ("auto", 0, ["cpu", "cpu"]),
        ("auto", 1, ["cuda:0", "cuda:0"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ([], 2, ["cpu", "cpu"]),
        ([1, 0], 2, ["cuda:1", "cuda:0"]),
    ],
)
def test_the_device_of_each_process(monkeypatch, capsys, gpu_ids, there, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert [str(choose_device(gpu_ids, rank)) for rank in (0, 1)] == devices
    assert capsys.readouterr().err == ""


def test_a_missing_gpu_is_warned_of_once(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [str(choose_device([2], rank)) for rank in (0, 1)] == ["cpu", "cpu"]
    assert capsys.readouterr().err == "warning: gpu_ids: this machine has no GPU 2; running on the CPU\n"
