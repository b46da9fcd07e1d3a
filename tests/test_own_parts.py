"""The parts that are ours: adaptive start, soft Maxout, FFT-preconditioned x-step, identity filters."""

import re

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from torch import Tensor

import hubconf
from codes.data.kernel_generator import camera_shake
from codes.models.archs.blur import Blur
from codes.models.archs.filters import Filters
from codes.models.archs.initialisation import AdaptiveInitialisation, PaperInitialisation
from codes.models.archs.shrinkage import SoftMaxout
from codes.models.factory import build_preset
from codes.models.registry import PRESETS
from codes.models.weights import load_weights
from codes.utils.files import ROOT
from tests.reference import LiteralDSDNet


@pytest.fixture
def sharp() -> Tensor:
    photograph = skimage_data.astronaut()[100:229, 150:281].astype(np.float32) / 255  # of odd sides
    return torch.from_numpy(photograph).permute(2, 0, 1)[None]


@pytest.fixture
def kernel(random: np.random.RandomState) -> Tensor:
    return torch.from_numpy(camera_shake(random, 15).astype(np.float32))[None]


def degraded(sharp: Tensor, kernel: Tensor, sigma: float) -> Tensor:
    return Blur(kernel, sharp.shape[-2:])(sharp) + sigma * torch.randn_like(sharp)


def psnr(x: Tensor, sharp: Tensor) -> float:
    return float(-10 * (x - sharp).square().mean().log10())


@pytest.mark.parametrize(("sigma", "gain"), [(0.01, 0.5), (0.03, 4), (0.05, 6)])
def test_adaptive_start_is_ahead_of_the_papers(sharp: Tensor, kernel: Tensor, sigma: float, gain: float) -> None:
    blurry = degraded(sharp, kernel, sigma)
    starts = (AdaptiveInitialisation(), PaperInitialisation())
    adaptive, paper = (psnr(start(blurry, kernel), sharp) for start in starts)
    assert adaptive > paper + gain


def test_adaptive_start_treats_each_image_of_a_batch_alone(sharp: Tensor, kernel: Tensor) -> None:
    initialise = AdaptiveInitialisation()
    blurry = torch.cat([degraded(sharp, kernel, sigma) for sigma in (0.005, 0.05)])
    together = initialise(blurry, kernel.expand(2, -1, -1))
    for one, alone in zip(together, blurry, strict=True):
        torch.testing.assert_close(one, initialise(alone[None], kernel)[0])


def test_soft_maxout_starts_as_soft_thresholding() -> None:
    shrink = SoftMaxout(3).eval()
    a = torch.linspace(-1, 1, 101).expand(1, 3, 1, -1).clone()
    threshold = shrink.threshold / shrink.gain
    expected = a.sign() * (a.abs() - threshold).clamp(min=0)
    with torch.no_grad():
        # The candidates that are not needed start at random, not at zero, so that they can learn.
        assert float((shrink(a) - expected).abs().mean()) < 0.05


def test_identity_filters_give_the_image_itself(sharp: Tensor) -> None:
    filters = Filters(3, 5)
    filters.start_as_identity()
    with torch.no_grad():
        responses = filters(sharp)
    torch.testing.assert_close(responses[:, :3], sharp)
    torch.testing.assert_close(filters.weight[3:].mean((-2, -1)), torch.zeros(2, 3), atol=1e-6, rtol=0)


def test_tiny_starts_as_its_initialisation(sharp: Tensor, kernel: Tensor) -> None:
    network = build_preset("tiny")
    with torch.no_grad():
        torch.testing.assert_close(network(sharp, kernel), network.initial(sharp, kernel))


def test_tiny_equals_its_literal_reference(sharp: Tensor, kernel: Tensor) -> None:
    network = build_preset("tiny")
    load_weights(network, ROOT / "Models" / "dsdnet_tiny.safetensors")
    blurry = degraded(sharp, kernel, 0.03).contiguous()
    with torch.no_grad():
        torch.testing.assert_close(network(blurry, kernel), LiteralDSDNet(network)(blurry, kernel), atol=1e-4, rtol=0)


@pytest.mark.parametrize("solver", ["cgnet_fft", "newton_denoise"])
@pytest.mark.parametrize("masked", [False, True])
def test_solvers_of_ours_equal_their_literal_references(
    solver: str, masked: bool, sharp: Tensor, kernel: Tensor
) -> None:
    network = build_preset("tiny", nf_p=4, nf_d=5, nb=2, nf_n=4, solver=solver)
    with torch.no_grad():
        for parameter in network.parameters():  # no part is zero, as some are before training
            parameter.add_(0.01 * torch.randn_like(parameter))
        blurry = degraded(sharp, kernel, 0.03).contiguous()
        mask = (torch.rand_like(blurry[:, :1]) > 0.02).float() if masked else None
        expected = LiteralDSDNet(network)(blurry, kernel, mask)
        torch.testing.assert_close(network(blurry, kernel, mask), expected, atol=1e-4, rtol=0)


def test_every_weight_of_tiny_learns(sharp: Tensor, kernel: Tensor) -> None:
    """No part is cut off: once the last convolutions have left zero, every weight gets a gradient."""
    network = build_preset("tiny").train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    blurry = degraded(sharp, kernel, 0.03)[..., :48, :48]
    for _ in range(2):
        optimizer.zero_grad()
        (network(blurry, kernel) - sharp[..., :48, :48]).square().mean().backward()
        optimizer.step()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # But for HypNet's bottleneck: its two ReLUs may both be off by chance.
    assert not [name for name in without if ".res." not in name]


def test_filters_stay_in_float32_under_autocast(sharp: Tensor) -> None:
    filters = Filters(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert filters(sharp).dtype == filters.adjoint(filters(sharp)).dtype == torch.float32


@pytest.mark.parametrize(
    ("entry", "preset"), [(hubconf.dsdnet_tiny, "tiny"), *((getattr(hubconf, n), n) for n in PRESETS if n != "tiny")]
)
def test_what_hub_entries_say_of_stages_and_filters(entry, preset: str) -> None:
    options = PRESETS[preset]
    said = re.findall(r"(\d+) stages?", entry.__doc__)
    assert said in ([], [str(options["nb"])])
    assert f"{options['nf_p']} + {options['nf_d']} filters" in entry.__doc__


def test_hub_entry() -> None:
    network = hubconf.dsdnet_tiny()
    assert sum(parameter.numel() for parameter in network.parameters()) < 10_000_000
