"""The ablation's parts: exact solvers against dense matrices, plain shrinkage functions, gradients."""

import copy

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor

import hubconf
from codes.models.ablation import (
    ConjugateGradients,
    DenoisedFourierSolver,
    FourierSolver,
    MeanWeights,
    circular_solution,
)
from codes.models.factory import build_preset
from codes.models.paper.blur import Blur, transfer_function
from codes.models.paper.dsdnet import DSDNet
from codes.models.paper.filters import Filters
from codes.models.paper.shrinkage import SHRINKAGES
from codes.models.paper.solver import SOLVERS, Problem, System
from codes.models.soft_maxout import SoftMaxout
from codes.utils.errors import UserError

SIZE = (6, 7)
N, M, C = 4, 3, 2


@pytest.fixture(autouse=True)
def _double() -> None:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def system(border: str = "replicate") -> System:
    """A system of two small images with targets of their own."""
    kernel = torch.rand(2, 3, 5)
    F, G, H = Filters(C, N), Filters(C, M), Blur(kernel / kernel.sum((1, 2), keepdim=True), SIZE, border)
    x = torch.rand(2, C, *SIZE)
    targets = {"prior_target": torch.rand(2, N, *SIZE), "data_target": torch.rand(2, M, *SIZE)}
    return System(problem=Problem(x, H), F=F, G=G, x=x, Fx=F(x), GHx=G(H(x)), **targets)


def centred_system() -> tuple[System, Tensor]:
    """A system whose targets differ from zero in the middle of the image only, and the image with these targets."""
    size = (40, 40)
    F, G, H = Filters(C, N), Filters(C, M), Blur(torch.full((1, 3, 3), 1 / 9), size)
    bump = torch.zeros(1, C, *size)
    bump[..., 18:22, 18:22] = 1.0
    at_zero = {"x": 0 * bump, "Fx": 0 * F(bump), "GHx": 0 * G(bump)}
    targets = {"prior_target": F(bump), "data_target": 0.5 * G(H(bump))}
    return System(problem=Problem(bump, H), F=F, G=G, **at_zero, **targets), bump


def dense(operator, example: Tensor) -> Tensor:
    """The matrix of a linear map of images (C, H, W), column by column."""
    columns = [operator(unit.view_as(example)[None])[0].flatten() for unit in torch.eye(example.numel())]
    return torch.stack(columns, 1)


@torch.no_grad()
def test_conjugate_gradients_solve_the_weighted_normal_equations():
    s = system()
    solver = ConjugateGradients(1, C, N, M, nf_n=4)
    solver.iterations = 150
    x, m = solver(0, s), solver.weights(0, s)
    for i in range(2):
        H = Blur(s.problem.H.kernel[i : i + 1], SIZE)
        F_, GH = dense(s.F, s.x[i]), dense(lambda x, H=H: s.G(H(x)), s.x[i])
        prior, data = m.m_p[i].flatten().square(), m.m_d[i].flatten().square()
        normal = m.m_n[i].mean() * F_.T @ (prior[:, None] * F_) + GH.T @ (data[:, None] * GH)
        right = m.m_n[i].mean() * F_.T @ (prior * s.prior_target[i].flatten())
        right += GH.T @ (data * s.data_target[i].flatten())
        expected = torch.linalg.solve(normal, right)
        torch.testing.assert_close(x[i].flatten(), expected, rtol=1e-6, atol=1e-8)


@torch.no_grad()
def test_fourier_solution_is_the_dense_circular_one():
    F, G, kernel = torch.randn(N, C, 3, 3), torch.randn(M, C, 3, 3), torch.rand(2, 1, 3, 5)
    weights = MeanWeights(torch.rand(2, N), torch.rand(2, M), torch.rand(2))
    prior, data, example = torch.rand(2, N, *SIZE), torch.rand(2, M, *SIZE), torch.rand(C, *SIZE)
    x = circular_solution(F, G, transfer_function(kernel, SIZE), weights, prior, data, damping=0.01)
    for i in range(2):
        H = Blur(kernel[i : i + 1], SIZE, "circular")
        F_ = dense(lambda x: nnf.conv2d(nnf.pad(x, (1, 1, 1, 1), "circular"), F), example)
        GH = dense(lambda x, H=H: nnf.conv2d(nnf.pad(H(x), (1, 1, 1, 1), "circular"), G), example)
        p = (weights.m_n[i] * weights.p[i]).repeat_interleave(SIZE[0] * SIZE[1])
        d = weights.d[i].repeat_interleave(SIZE[0] * SIZE[1])
        normal = F_.T @ (p[:, None] * F_) + GH.T @ (d[:, None] * GH) + 0.01 * torch.eye(example.numel())
        right = F_.T @ (p * prior[i].flatten()) + GH.T @ (d * data[i].flatten())
        torch.testing.assert_close(x[i].flatten(), torch.linalg.solve(normal, right), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", [ConjugateGradients, FourierSolver])
@torch.no_grad()
def test_consistent_targets_keep_the_image(solver):
    s = system()
    s.prior_target, s.data_target = s.Fx, s.GHx
    torch.testing.assert_close(solver(1, C, N, M, 4)(0, s), s.x)


@pytest.mark.parametrize("name", ["cgnet", "cg", "cg_denoise", "fft", "fft_denoise"])
@pytest.mark.parametrize("filters", [1, C, M])
@torch.no_grad()
def test_one_kernel_per_channel(name, filters):
    """With the same kernel in each channel the result is the same, for all numbers of data filters."""
    s, bump = centred_system()
    s.G = Filters(C, filters)
    s.GHx, s.data_target = 0 * s.G(bump), 0.5 * s.G(s.problem.H(bump))
    solver = SOLVERS[name](1, C, N, filters, 4)
    expected = solver(0, copy.copy(s))
    s.problem = Problem(bump, Blur(torch.full((1, C, 3, 3), 1 / 9), s.x.shape[-2:]))
    torch.testing.assert_close(solver(0, copy.copy(s)), expected)


@pytest.mark.parametrize("name", ["fft", "fft_denoise"])
def test_a_different_kernel_per_channel(name):
    """This stopped with an error when the number of data filters was not 3."""
    image, kernel = torch.rand(1, 3, 24, 20, dtype=torch.float32), torch.rand(1, 3, 5, 3, dtype=torch.float32)
    restored = small(solver=name)(image, kernel / kernel.sum((-2, -1), keepdim=True))
    assert restored.shape == image.shape
    assert restored.isfinite().all()


@torch.no_grad()
def test_fourier_and_conjugate_gradients_agree_far_from_borders():
    """With the same weights everywhere, and targets that are zero near the border."""
    s, _ = centred_system()
    fourier, gradients = FourierSolver(1, C, N, M, 4), ConjugateGradients(1, C, N, M, 4)
    fourier.damping, gradients.iterations = 1e-9, 80
    for solver in (fourier, gradients):
        for weights in (*solver.m_p, *solver.m_d, *solver.m_n):
            for parameter in weights.parameters():
                parameter.zero_()
    x = fourier(0, s)
    assert float(x.abs().amax()) > 0.3
    torch.testing.assert_close(gradients(0, s), x, rtol=0, atol=0.02)


def small(**parts) -> DSDNet:
    keys = {"init": "adaptive", "shrinkage": "maxout_soft", "nf_n": 4}
    return hubconf.dsdnet(nf_p=4, nf_d=4, n_iter=2, **(keys | parts)).float()


@pytest.mark.parametrize(
    "parts",
    [{"solver": name} for name in ("cg", "fft", "cg_denoise", "fft_denoise")]
    + [{"shrinkage_z": "zero"}, {"shrinkage": "relu"}, {"shrinkage": "soft_threshold"}, {"preset": "tiny"}],
)
@pytest.mark.parametrize("amp", [False, True])
def test_every_weight_learns(parts, amp):
    network = (build_preset("tiny").float() if "preset" in parts else small(**parts)).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.001)
    sharp = nnf.interpolate(torch.rand(2, 3, 12, 12, dtype=torch.float32), (36, 36), mode="bicubic")
    kernel = torch.full((2, 3, 3), 1 / 9, dtype=torch.float32)
    blurry = Blur(kernel, (36, 36))(sharp) + 0.02 * torch.randn_like(sharp)
    for _ in range(2):  # after the first step the last convolutions are not zero, and each weight gets a gradient
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            restored = network(blurry, kernel)
        assert restored.dtype == torch.float32
        (restored - sharp).square().mean().backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # HypNet's bottleneck is left out: its two ReLUs may both be off by chance.
        assert parameter.grad.any() or ".res." in name, name


def test_black_image_has_finite_gradients():
    network = small(solver="cg", shrinkage="relu").train()
    network(torch.zeros(1, 3, 24, 24, dtype=torch.float32), torch.ones(1, 1, 1, dtype=torch.float32)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@torch.no_grad()
def test_soft_threshold():
    shrink = SHRINKAGES["soft_threshold"](2).eval()
    shrink.threshold.copy_(torch.tensor([0.5, -1.0])[:, None, None] * SoftMaxout.gain)
    a = torch.tensor([-2.0, -0.75, 0.25, 1.5]).expand(1, 2, 1, 4)
    expected = torch.tensor([[-1.5, -0.25, 0.0, 1.0], [-1.0, 0.0, 0.0, 0.5]])[None, :, None]
    torch.testing.assert_close(shrink(a), expected)


@torch.no_grad()
def test_all_shrinkages_of_the_ablation_start_alike():
    a = torch.linspace(-0.05, 0.05, 101).expand(1, 3, 5, -1).clone()
    expected = SHRINKAGES["soft_threshold"](3)(a)
    for name in ("relu", "maxout_soft"):
        assert float((SHRINKAGES[name](3).eval()(a) - expected).abs().mean()) < 0.003, name


@torch.no_grad()
def test_the_data_term_has_its_own_shrinkage():
    network = small(shrinkage_z="zero")
    assert not any(list(shrink.parameters()) for shrink in network.shrink_z)
    assert all(isinstance(shrink, SoftMaxout) for shrink in network.shrink_v)
    assert not network.shrink_z[0](torch.rand(1, 4, 5, 5)).any()
    with pytest.raises(UserError, match="unknown shrinkage 'zer'; did you mean 'zero'"):
        small(shrinkage_z="zer")


@torch.no_grad()
def test_denoiser_starts_as_its_solver_alone():
    s = system()
    denoised = DenoisedFourierSolver(1, C, N, M, 4)
    torch.testing.assert_close(denoised(0, s), denoised.solver(0, s))
