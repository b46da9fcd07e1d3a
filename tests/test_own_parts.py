"""The parts that are ours: adaptive start, soft Maxout, FFT-preconditioned x-step, identity filters."""

import re

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from torch import Tensor, nn

import hubconf
from codes.data.kernel_generator import camera_shake
from codes.models.paper.blur import Blur
from codes.models.paper.cgnet import System
from codes.models.tiny.denoiser import DenoisingUNet
from codes.models.paper.filters import Filters
from codes.models.paper.initialisation import AdaptiveInitialisation, PaperInitialisation
from codes.models.tiny.newton_prior import fading
from codes.models.tiny.noise import estimate_noise
from codes.models.paper.shrinkage import SoftMaxout
from codes.models.factory import build_preset
from codes.models.registry import PRESETS
from codes.models.weights import load_weights
from codes.utils.errors import UserError
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


def test_tiny_starts_as_half_quadratic_splitting(sharp: Tensor, kernel: Tensor) -> None:
    """Before training, with a denoiser that takes nothing off, the stages come closer to y = Hx, border and all."""
    network = build_preset("tiny")
    for parameter in network.solver.denoiser.tail.parameters():
        nn.init.zeros_(parameter)
    H = Blur(kernel, sharp.shape[-2:])
    blurry = H(sharp)
    with torch.no_grad():
        images = [network.initial(blurry, kernel), *network(blurry, kernel, stages=True)]
    errors = [psnr(H(x), blurry) for x in images]
    assert min(errors[1:]) > errors[0] + 5
    assert psnr(images[-1], sharp) > psnr(images[0], sharp)


def test_tiny_solver_equals_the_optimum_without_borders() -> None:
    """P r is the step to the minimum where the image is far from its borders and the weights are constants."""
    network = build_preset("tiny", nb=1)
    solver, k = network.solver, torch.rand(1, 5, 5)
    k /= k.sum()
    x, y = torch.zeros(2, 1, 3, 64, 64)
    y[..., 30:34, 30:34] = torch.rand(3, 4, 4)
    F, G, H = network.F[0], network.G[0], Blur(k, (64, 64), border="zero")
    w = torch.tensor([0.3])
    prior, data = solver.log_prior[0].exp()[:, None, None], solver.log_data[0].exp()[:, None, None]
    with torch.no_grad():
        s = System(x, F(x), G(H(x)), F(x), G(y), F, G, H)
        step = solver.step(0, s, w, torch.zeros_like(x), G.adjoint(data * G(y)))
        A = w * F.adjoint(prior * F(step)) + H.adjoint(G.adjoint(data * G(H(step)))) + solver.pull * step
    expected = H.adjoint(G.adjoint(data * G(y)))
    torch.testing.assert_close(A, expected.detach(), atol=2e-3 * float(expected.detach().abs().max()), rtol=0)


def test_residual_fades_out_beyond_the_image() -> None:
    weights = fading((5, 3), (4, 6), torch.zeros(1))
    assert weights.shape == (8, 8)
    torch.testing.assert_close(weights[:, 3], torch.tensor([1 / 3, 2 / 3, 1, 1, 1, 1, 2 / 3, 1 / 3]))
    torch.testing.assert_close(weights[3], torch.tensor([0.5, 1, 1, 1, 1, 1, 1, 0.5]))


def test_tiny_estimates_the_noise_that_it_is_not_told(sharp: Tensor, kernel: Tensor) -> None:
    network, blurry = build_preset("tiny", nb=1), degraded(sharp, kernel, 0.03)
    with torch.no_grad():
        estimated = network(blurry, kernel)
        torch.testing.assert_close(network(blurry, kernel, sigma=estimate_noise(blurry)), estimated)
        assert not torch.allclose(network(blurry, kernel, sigma=torch.tensor([0.2])), estimated, atol=1e-3)


@pytest.mark.parametrize("solver", ["newton_prior", "newton"])
@pytest.mark.parametrize(("size", "kernel_size"), [((1, 1), 1), ((3, 3), 1), ((1, 9), 2), ((4, 12), 3)])
def test_images_smaller_than_the_filters(solver: str, size: tuple[int, int], kernel_size: int) -> None:
    """The inverse is that of the same system: zeros beside an image change little, and nothing explodes."""
    network, k = build_preset("tiny", nb=1, solver=solver), torch.full((1, kernel_size, kernel_size), kernel_size**-2.0)
    if solver == "newton_prior":
        nn.init.zeros_(network.solver.denoiser.tail.weight)
    blurry = torch.rand(1, 3, *size)
    with torch.no_grad():
        assert float((network(blurry, k) - network.initial(blurry, k)).abs().max()) < 1.5


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("side", [1, 9, 25, 45])
def test_the_step_at_one_side_hardly_comes_in_at_the_other(side: int, transposed: bool) -> None:
    """Of a residual in the last column, or row; the cyclic transforms have room for what the inverse reaches."""
    network = build_preset("tiny")
    load_weights(network, ROOT / "Models" / "dsdnet_tiny.safetensors")
    k = torch.from_numpy(camera_shake(np.random.RandomState(side), side) if side > 1 else np.ones((1, 1)))[None].float()
    image, residual = torch.zeros(1, 3, 48, 240), torch.zeros(1, 3, 48, 240)
    residual[..., -1] = 1.0
    if transposed:
        image, residual = image.mT, residual.mT
    system = System(*5 * [image], F=network.F[-1], G=network.G[-1], H=Blur(k, image.shape[-2:]))
    with torch.no_grad():
        step = network.solver.step(network.n_iter - 1, system, torch.tensor([0.05]), image, residual).abs()
    beginning = step[..., :16, :] if transposed else step[..., :16]
    assert float(beginning.max() / step.max()) < 0.01


def test_sigma_that_is_in_vain_or_misshapen(sharp: Tensor, kernel: Tensor) -> None:
    with pytest.raises(ValueError, match="sigma"):
        build_preset("tiny", nb=1)(sharp, kernel, sigma=torch.tensor([0.1, 0.1]))
    with pytest.raises(ValueError, match="sigma"):
        build_preset("feather", nf_p=2, nf_d=2, nb=1)(sharp, kernel, sigma=torch.tensor([0.1]))


def test_shrinkage_that_needs_two_candidates() -> None:
    with pytest.raises(UserError, match="max_nc 1"):
        build_preset("tiny", max_nc=1)


def test_denoiser_scales_with_its_noise(sharp: Tensor) -> None:
    denoiser = DenoisingUNet()
    sigma = torch.tensor([0.1])
    with torch.no_grad():
        once, doubled = denoiser(sharp, sigma), denoiser(2 * sharp, 2 * sigma)
    assert once.shape == sharp.shape
    torch.testing.assert_close(doubled, 2 * once, atol=1e-4, rtol=1e-4)


def test_a_stage_takes_the_learned_share_of_the_duals(sharp: Tensor, kernel: Tensor) -> None:
    keys = {"nb": 2, "solver": "newton", "nf_p": 4, "nf_d": 4}
    learned, whole = build_preset("tiny", **keys), build_preset("tiny", **keys, duals="whole")
    with torch.no_grad():
        for bank in learned.F:
            bank.weight.add_(0.02)
        load_weights(whole, {key: value for key, value in learned.state_dict().items() if key != "dual_shares"})
        without = learned(sharp, kernel)
        learned.dual_shares.fill_(1.0)
        torch.testing.assert_close(learned(sharp, kernel), whole(sharp, kernel))
        assert not torch.allclose(without, whole(sharp, kernel), atol=1e-4)


def test_tiny_equals_its_literal_reference(sharp: Tensor, kernel: Tensor) -> None:
    network = build_preset("tiny")
    load_weights(network, ROOT / "Models" / "dsdnet_tiny.safetensors")
    blurry = degraded(sharp, kernel, 0.03).contiguous()
    with torch.no_grad():
        torch.testing.assert_close(network(blurry, kernel), LiteralDSDNet(network)(blurry, kernel), atol=1e-4, rtol=0)


@pytest.mark.parametrize("solver", ["cgnet_fft", "newton_denoise", "newton_prior"])
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
