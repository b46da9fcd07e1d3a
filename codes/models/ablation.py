"""Parts to exchange in DSDNet, for the ablation: other solvers and other shrinkage functions.

Solvers: conjugate gradients (`cg`) and the closed form in the Fourier domain (`fft`), each also followed by a
denoising U-Net (`cg_denoise`, `fft_denoise`). Shrinkage functions: `relu`, `soft_threshold` and `zero`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.blur import Blur, inner, pad_to_fast_size, transfer_function
from codes.models.paper.cgnet import WeightedSolver
from codes.models.paper.formats import at_least_float32
from codes.models.paper.initialisation import edge_taper
from codes.models.paper.shrinkage import SHRINKAGES
from codes.models.paper.solver import SOLVERS, Solver, System
from codes.models.paper.unet import UNet
from codes.models.soft_maxout import SoftMaxout


@SOLVERS.register("cg")
class ConjugateGradients(WeightedSolver):
    """Conjugate-gradient steps, from the stage's x, on the normal equations of the x-step.

    These are the normal equations of the least squares problem in the paper's objective, with CGNet's weights:

        min_x  m_n |m_p (Fx - (v - u_i))|^2 + |m_d (GHx - (Gy - z + u_j))|^2

    H' is the transpose of H, including its border. m_n is averaged over the image, because the system would not be
    symmetric otherwise. The release multiplies the right-hand side by m_p and m_d instead of their squares. One step
    of CGNet can make up for that, a solution could not.
    """

    iterations = 5
    # Divisors are not below this number: a black image has a residual of zero.
    eps = 1e-30

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        p, d = m.m_p.square(), m.m_d.square()
        m_n = m.m_n.mean((1, 2, 3), keepdim=True)
        H = s.problem.H
        H = Blur(H.kernel, H.size, H.border, exact_adjoint=True)

        def adjoint(a: Tensor, b: Tensor) -> Tensor:
            return m_n * s.F.adjoint(p * a) + H.adjoint(s.G.adjoint(d * b))

        r = adjoint(s.prior_target - s.Fx, s.data_target - s.GHx)
        return self.solve(lambda x: adjoint(s.F(x), s.G(H(x))), s.x, r)

    def solve(self, A: Callable[[Tensor], Tensor], x: Tensor, r: Tensor) -> Tensor:
        """Approach the solution of A x = b from `x`, whose residual b - A x is `r`.

        A is symmetric and positive semi-definite. x, r: (B, C, H, W); each image is a system of its own.
        """
        p, square = r, _inner_product(r, r)
        for _ in range(self.iterations):
            Ap = A(p)
            step = square / _inner_product(p, Ap).clamp(min=self.eps)
            x, r = x + step * p, r - step * Ap
            next_square = _inner_product(r, r)
            p, square = r + next_square / square.clamp(min=self.eps) * p, next_square
        return x


def _inner_product(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


class MeanWeights(NamedTuple):
    """Weights averaged over each image: p (B, N) of m_p^2, d (B, M) of m_d^2, and m_n (B,)."""

    p: Tensor
    d: Tensor
    m_n: Tensor


@SOLVERS.register("fft")
class FourierSolver(WeightedSolver):
    """The solution of the normal equations (see ConjugateGradients) as if all borders were circular.

    A closed form cannot have weights for each pixel, so CGNet's m_p^2, m_d^2 and m_n are averaged over the image.
    The unknown is the step from the stage's x. The differences between the targets and the filter responses are
    extended by replication, those of the data term also get tapered edges, and the part of the step beyond the border
    is cut off.
    """

    # Keeps the step small at frequencies that neither term determines.
    damping = 1e-3

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        weights = MeanWeights(m.m_p.square().mean((-2, -1)), m.m_d.square().mean((-2, -1)), m.m_n.mean((1, 2, 3)))
        kernel = s.problem.H.kernel
        differences = (at_least_float32(target) for target in (s.prior_target - s.Fx, s.data_target - s.GHx))
        prior, data = (pad_to_fast_size(difference, kernel.shape[-2:]) for difference in differences)
        size = data.shape[-2:]
        # The M responses mix all channels of the image: with one kernel per channel they get the mean of the kernels.
        common = kernel.mean(1, keepdim=True)
        blur = transfer_function(common, size)
        data = edge_taper(data, common, circular_blur=lambda y: torch.fft.irfft2(blur * torch.fft.rfft2(y), s=size))
        with torch.autocast(data.device.type, enabled=False):
            K = transfer_function(kernel, size)
            step = circular_solution(s.F.weight, s.G.weight, K, weights, prior, data, self.damping)
        return s.x + inner(step, s.x.shape[-2:], kernel.shape[-2:]).to(s.x.dtype)


def circular_solution(
    F: Tensor, G: Tensor, K: Tensor, weights: MeanWeights, prior: Tensor, data: Tensor, damping: float
) -> Tensor:
    """argmin_x  m_n sum_i p_i |F_i x - prior_i|^2 + sum_j d_j |G_j H x - data_j|^2 + damping |x|^2.

    F (N, C, h, w), G (M, C, h, w): filters; K (B, 1 or C, H, W//2+1): transfer function of H;
    prior (B, N, H, W), data (B, M, H, W). All borders are circular. Returns x (B, C, H, W).
    """
    size = data.shape[-2:]
    F, G = (transfer_function(bank, size) for bank in (F, G))
    prior, data = torch.fft.rfft2(prior), torch.fft.rfft2(data)
    prior_weights, data_weights = weights.m_n[:, None] * weights.p, weights.d
    normal = _weighted(F, prior_weights) + K.conj()[:, :, None] * K[:, None] * _weighted(G, data_weights)
    right = _weighted_adjoint(F, prior_weights, prior) + K.conj() * _weighted_adjoint(G, data_weights, data)
    # A system of C equations for each frequency.
    system = normal.permute(0, 3, 4, 1, 2) + damping * torch.eye(
        normal.shape[1], dtype=normal.dtype, device=normal.device
    )
    solution = torch.linalg.solve_ex(system, right.movedim(1, -1)[..., None]).result
    return torch.fft.irfft2(solution[..., 0].movedim(-1, 1), s=size)


def _weighted(bank: Tensor, weights: Tensor) -> Tensor:
    """sum_i w_i conj(bank_ic) bank_id: (N, C, H, W'), (B, N) -> (B, C, C, H, W')."""
    squares = bank.conj()[:, :, None] * bank[:, None]
    return torch.tensordot(weights.to(bank.dtype), squares, dims=1)


def _weighted_adjoint(bank: Tensor, weights: Tensor, responses: Tensor) -> Tensor:
    """sum_i w_i conj(bank_ic) a_i: (N, C, H, W'), (B, N), (B, N, H, W') -> (B, C, H, W')."""
    return torch.einsum("ichw,bihw->bchw", bank.conj(), weights[..., None, None] * responses)


class Denoised(Solver):
    """x + F'a + G'b, where x is the solution of another solver and a, b are the U-Net's output for Fx and Gx.

    CGNet applies its U-Net to the residual, this solver to the solution. Before training it equals the other solver.
    """

    solver_class: type[Solver]

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__()
        self.solver = self.solver_class(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.takes_mask = self.solver.takes_mask
        self.unet = nn.ModuleList(UNet(nf_p + nf_d) for _ in range(n_iter))
        for unet in self.unet:
            unet.u0.m[3] = nn.Identity()  # no last ReLU: the output is 0 at first and may get either sign
            unet.start_constant(0.0)

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        x = self.solver(t, s)
        Fx, Gx = s.F(x), s.G(x)
        a, b = self.unet[t](torch.cat([Fx, Gx], 1)).split([Fx.shape[1], Gx.shape[1]], 1)
        return x + s.F.adjoint(a) + s.G.adjoint(b)


@SOLVERS.register("cg_denoise")
class DenoisedConjugateGradients(Denoised):
    """ConjugateGradients, then the U-Net."""

    solver_class = ConjugateGradients


@SOLVERS.register("fft_denoise")
class DenoisedFourierSolver(Denoised):
    """FourierSolver, then the U-Net."""

    solver_class = FourierSolver


@SHRINKAGES.register("relu")
class DifferenceOfReLUs(SoftMaxout):
    """relu(first) - relu(second): each maximum is that of one affine function and zero.

    It starts as soft thresholding, like SoftMaxout, and works on values magnified in the same way.
    """

    least_nc = 1

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__(channels, max_nc=1, dropout_rate=dropout_rate)

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        a = self.dropout(self.gain * a)
        return (nnf.relu(self.conv1(a)) - nnf.relu(self.conv2(a))) / self.gain


@SHRINKAGES.register("soft_threshold")
class SoftThreshold(nn.Module):
    """sign(a) max(|a| - threshold, 0), the proximal operator of the L1 norm, with one learned threshold per channel.

    The thresholds are those of values magnified by SoftMaxout's gain; their sign does not matter.
    """

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout2d(dropout_rate)
        self.threshold = nn.Parameter(torch.full((channels, 1, 1), SoftMaxout.threshold))

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        a = self.dropout(a)
        return a.sign() * nnf.relu(a.abs() - self.threshold.abs() / SoftMaxout.gain)


@SHRINKAGES.register("zero")
class Zero(nn.Module):
    """0 for all values. As the shrinkage of z it reduces the data term to y = Hx."""

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__()

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        return torch.zeros_like(a)
