"""DSDNetTiny: its start, its x-step against a literal reference, its noise level and its denoiser."""

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from torch import Tensor, nn

import hubconf
from codes.data.kernel_generator import camera_shake
from codes.models.factory import build_preset
from codes.models.noise import estimate_noise
from codes.models.paper.blur import Blur
from codes.models.paper.initialisation import PaperInitialisation
from codes.models.paper.solver import Problem, System
from codes.models.soft_maxout import SoftMaxout
from codes.models.tiny.denoiser import DenoisingUNet
from codes.models.tiny.initialisation import AdaptiveInitialisation
from codes.utils.errors import UserError
from studies.reference import LiteralDSDNet


@pytest.fixture
def sharp() -> Tensor:
    photograph = skimage_data.astronaut()[100:229, 150:281].astype(np.float32) / 255  # odd height and width
    return torch.from_numpy(photograph).permute(2, 0, 1)[None]


@pytest.fixture
def kernel(random: np.random.RandomState) -> Tensor:
    return torch.from_numpy(camera_shake(random, 15).astype(np.float32))[None]


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return hubconf.dsdnet_tiny(pretrained=True)


def degraded(sharp: Tensor, kernel: Tensor, sigma: float) -> Tensor:
    return Blur(kernel, sharp.shape[-2:])(sharp) + sigma * torch.randn_like(sharp)


def psnr(x: Tensor, sharp: Tensor) -> float:
    return float(-10 * (x - sharp).square().mean().log10())


@pytest.mark.parametrize(("sigma", "gain"), [(0.01, 0.5), (0.03, 4), (0.05, 6)])
def test_adaptive_start_is_better_than_the_papers(sharp, kernel, sigma, gain):
    blurry = degraded(sharp, kernel, sigma)
    starts = (AdaptiveInitialisation(), PaperInitialisation())
    adaptive, paper = (psnr(start(blurry, kernel), sharp) for start in starts)
    assert adaptive > paper + gain


def test_adaptive_start_treats_each_image_of_a_batch_alone(sharp, kernel):
    initialise = AdaptiveInitialisation()
    blurry = torch.cat([degraded(sharp, kernel, sigma) for sigma in (0.005, 0.05)])
    together = initialise(blurry, kernel.expand(2, -1, -1))
    for one, alone in zip(together, blurry, strict=True):
        torch.testing.assert_close(one, initialise(alone[None], kernel)[0])


def test_soft_maxout_starts_as_soft_thresholding():
    shrink = SoftMaxout(3).eval()
    a = torch.linspace(-1, 1, 101).expand(1, 3, 1, -1).clone()
    expected = a.sign() * (a.abs() - shrink.threshold / shrink.gain).clamp(min=0)
    with torch.no_grad():
        # The other affine functions start at random, not at zero, so that they can learn.
        assert float((shrink(a) - expected).abs().mean()) < 0.05
    with pytest.raises(UserError, match="max_nc 1"):
        build_preset("tiny", max_nc=1)


def test_tiny_starts_as_half_quadratic_splitting(sharp, kernel):
    """Before training, with a denoiser that changes nothing, the stages approach y = Hx, also at the border."""
    network = build_preset("tiny")
    nn.init.zeros_(network.solver.denoiser.tail.weight)
    H = Blur(kernel, sharp.shape[-2:])
    blurry = H(sharp)
    with torch.no_grad():
        images = [network.initial(blurry, kernel), *network(blurry, kernel, stages=True)]
    errors = [psnr(H(x), blurry) for x in images]
    assert min(errors[1:]) > errors[0] + 5
    assert psnr(images[-1], sharp) > psnr(images[0], sharp)


@torch.no_grad()
def test_the_step_is_the_optimum_far_from_borders():
    """P r is the step to the minimum if the weights are constants and the image is zero near its borders."""
    network = build_preset("tiny", nb=1)
    solver, k = network.solver, torch.rand(1, 5, 5)
    k /= k.sum()
    x, y = torch.zeros(2, 1, 3, 64, 64)
    y[..., 30:34, 30:34] = torch.rand(3, 4, 4)
    F, G, H = network.F[0], network.G[0], Blur(k, (64, 64), border="zero")
    w = torch.tensor([0.3])
    prior, data = solver.log_prior[0].exp()[:, None, None], solver.log_data[0].exp()[:, None, None]
    s = System(problem=Problem(y, H), F=F, G=G, x=x, Fx=F(x), GHx=G(H(x)), prior_target=F(x), data_target=G(y))
    step = solver.step(0, s, w, torch.zeros_like(x), G.adjoint(data * G(y)))
    A = w * F.adjoint(prior * F(step)) + H.adjoint(G.adjoint(data * G(H(step)))) + solver.damping * step
    expected = H.adjoint(G.adjoint(data * G(y)))
    torch.testing.assert_close(A, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)
    # The same kernel for each channel is the same blur.
    s.problem = Problem(y, Blur(k[:, None].expand(-1, 3, -1, -1), (64, 64), border="zero"))
    torch.testing.assert_close(solver.step(0, s, w, torch.zeros_like(x), G.adjoint(data * G(y))), step)


@pytest.mark.parametrize(("size", "kernel_size"), [((1, 1), 1), ((3, 3), 1), ((1, 9), 2), ((4, 12), 3)])
def test_images_smaller_than_the_filters(size, kernel_size):
    """The system stays the same: zeros next to an image change little, and no value explodes."""
    network, k = build_preset("tiny", nb=1), torch.full((1, kernel_size, kernel_size), kernel_size**-2.0)
    nn.init.zeros_(network.solver.denoiser.tail.weight)
    blurry = torch.rand(1, 3, *size)
    with torch.no_grad():
        assert float((network(blurry, k) - network.initial(blurry, k)).abs().max()) < 1.5


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("side", [1, 9, 25, 45])
def test_the_step_at_one_side_hardly_reaches_the_other(trained, side, transposed):
    """A residual in the last column, or row, changes little in the first ones, although the transforms are cyclic."""
    k = torch.from_numpy(camera_shake(np.random.RandomState(side), side) if side > 1 else np.ones((1, 1)))[None].float()
    image, residual = torch.zeros(1, 3, 48, 240), torch.zeros(1, 3, 48, 240)
    residual[..., -1] = 1.0
    if transposed:
        image, residual = image.mT, residual.mT
    parts = dict.fromkeys(("x", "Fx", "GHx", "prior_target", "data_target"), image)
    problem = Problem(image, Blur(k, image.shape[-2:]))
    system = System(problem=problem, F=trained.F[-1], G=trained.G[-1], **parts)
    with torch.no_grad():
        step = trained.solver.step(trained.n_iter - 1, system, torch.tensor([0.05]), image, residual).abs()
    beginning = step[..., :16, :] if transposed else step[..., :16]
    assert float(beginning.max() / step.max()) < 0.01


def test_the_noise_level_is_given_or_estimated(sharp, kernel):
    network, blurry = build_preset("tiny", nb=1), degraded(sharp, kernel, 0.03)
    with torch.no_grad():
        estimated = network(blurry, kernel)
        torch.testing.assert_close(network(blurry, kernel, sigma=estimate_noise(blurry)), estimated)
        assert not torch.allclose(network(blurry, kernel, sigma=torch.tensor([0.2])), estimated, atol=1e-3)
    with pytest.raises(ValueError, match="sigma"):
        network(sharp, kernel, sigma=torch.tensor([0.1, 0.1]))


def test_the_denoiser_scales_with_its_noise(sharp):
    denoiser = DenoisingUNet()
    sigma = torch.tensor([0.1])
    with torch.no_grad():
        once, doubled = denoiser(sharp, sigma), denoiser(2 * sharp, 2 * sigma)
    assert once.shape == sharp.shape
    torch.testing.assert_close(doubled, 2 * once, atol=1e-4, rtol=1e-4)


def test_equals_its_literal_reference(trained, sharp, kernel):
    blurry = degraded(sharp, kernel, 0.03).contiguous()
    with torch.no_grad():
        torch.testing.assert_close(trained(blurry, kernel), LiteralDSDNet(trained)(blurry, kernel), atol=1e-4, rtol=0)


@torch.no_grad()
def test_random_weights_and_a_mask_equal_the_literal_reference(sharp, kernel):
    network = build_preset("tiny", nf_p=4, nf_d=5, nb=2, nf_n=4)
    for parameter in network.parameters():  # no part is zero, as some are before training
        parameter.add_(0.01 * torch.randn_like(parameter))
    blurry = degraded(sharp, kernel, 0.03).contiguous()
    mask = (torch.rand_like(blurry[:, :1]) > 0.02).float()
    expected = LiteralDSDNet(network)(blurry, kernel, mask)
    torch.testing.assert_close(network(blurry, kernel, mask), expected, atol=1e-4, rtol=0)
