"""The x-step in closed form in the Fourier domain, in place of the learned CGNet."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from codes.models.paper.blur import transfer_function
from codes.models.paper.cgnet import SOLVERS, System, WeightedSolver
from codes.models.ablation.denoised_solver import Denoised
from codes.models.paper.initialisation import edge_taper, inner, pad_to_fast_size


class Scalars(NamedTuple):
    """Weights of each image: prior (B, N), data (B, M), image (B,)."""

    prior: Tensor
    data: Tensor
    image: Tensor


@SOLVERS.register("fft")
class FourierSolver(WeightedSolver):
    """The solution of the x-step's normal equations (see ConjugateGradients) as if all borders were circular.

    A closed form has no weights of each pixel: CGNet's m_p^2, m_d^2 and m_n are averaged over the
    image. What is solved for is the step from the stage's x. What the filter responses lack of
    their targets is extended by replication, the data term's with tapered edges, and the part of
    the step beyond the border is cut off.
    """

    takes_mask = False
    pull = 1e-3
    """keeps the step small at frequencies that neither term heeds"""

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        weights = Scalars(
            m.prior.to(s.x.dtype).square().mean((-2, -1)),
            m.data.to(s.x.dtype).square().mean((-2, -1)),
            m.image.to(s.x.dtype).mean((1, 2, 3)),
        )
        kernel = s.H.kernel
        prior = pad_to_fast_size(s.prior_target - s.Fx, kernel.shape[-2:])
        data = pad_to_fast_size(s.data_target - s.GHx, kernel.shape[-2:])
        size = data.shape[-2:]
        K = transfer_function(kernel, size)
        data = edge_taper(data, kernel, circular_blur=lambda y: torch.fft.irfft2(K * torch.fft.rfft2(y), s=size))
        with torch.autocast(data.device.type, enabled=False):
            step = circular_solution(s.F.weight, s.G.weight, K, weights, prior, data, self.pull)
        return s.x + inner(step, s.x.shape[-2:], kernel.shape[-2:])


def circular_solution(
    F: Tensor, G: Tensor, K: Tensor, weights: Scalars, prior: Tensor, data: Tensor, pull: float
) -> Tensor:
    """argmin_x  m_n sum_i p_i |F_i x - prior_i|^2 + sum_j d_j |G_j H x - data_j|^2 + pull |x|^2.

    F (N, C, h, w), G (M, C, h, w): filters; K (B, 1 or C, H, W//2+1): transfer function of H;
    prior (B, N, H, W), data (B, M, H, W). All borders are circular. Returns x (B, C, H, W).
    """
    size = data.shape[-2:]
    F, G = (transfer_function(bank, size) for bank in (F, G))
    prior, data = torch.fft.rfft2(prior), torch.fft.rfft2(data)
    prior_weights, data_weights = weights.image[:, None] * weights.prior, weights.data
    normal = _weighted(F, prior_weights) + K.conj()[:, :, None] * K[:, None] * _weighted(G, data_weights)
    right = _weighted_adjoint(F, prior_weights, prior) + K.conj() * _weighted_adjoint(G, data_weights, data)
    pull_matrix = pull * torch.eye(normal.shape[1], dtype=normal.dtype, device=normal.device)
    # A system of C equations for every frequency.
    solution = torch.linalg.solve(normal.permute(0, 3, 4, 1, 2) + pull_matrix, right.movedim(1, -1))
    return torch.fft.irfft2(solution.movedim(-1, 1), s=size)


def _weighted(bank: Tensor, weights: Tensor) -> Tensor:
    """sum_i w_i conj(bank_ic) bank_id: (N, C, H, W'), (B, N) -> (B, C, C, H, W')."""
    squares = bank.conj()[:, :, None] * bank[:, None]
    return torch.tensordot(weights.to(bank.dtype), squares, dims=1)


def _weighted_adjoint(bank: Tensor, weights: Tensor, responses: Tensor) -> Tensor:
    """sum_i w_i conj(bank_ic) a_i: (N, C, H, W'), (B, N), (B, N, H, W') -> (B, C, H, W')."""
    return torch.einsum("ichw,bihw->bchw", bank.conj(), weights[..., None, None] * responses)


SOLVERS.register("fft_denoise")(partial(Denoised, solver=FourierSolver))
