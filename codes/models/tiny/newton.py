"""The x-step as one step of Newton's method: the system's exact residual, solved for in the Fourier domain."""

from functools import partial

import torch
import torch.nn.functional as nnf
from scipy.fft import next_fast_len
from torch import Tensor

from codes.models.paper.blur import transfer_function
from codes.models.paper.cgnet import SOLVERS, System, WeightedSolver
from codes.models.ablation.denoised_solver import Denoised
from codes.models.paper.filters import SIDE
from codes.models.paper.layout import laid_out_as


@SOLVERS.register("newton")
class Newton(WeightedSolver):
    """x + P r: a step to the minimum of m_n |m_p (F x - (v - u_i))|^2 + |m_d (G(y - Hx) - (z - u_j))|^2.

    r, minus half its gradient at x, heeds the weights of each pixel, the mask and the borders of H and H'.
    P is the inverse of its second derivative as FourierSolver has it: with the average of m_p^2, m_d^2
    and m_n over the image, and circular borders. Beyond the image r is taken to be zero.
    """

    takes_mask = True
    pull = 1e-3
    """keeps the step small at frequencies that neither term heeds"""

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        prior, data = m.prior.square(), m.data.square()
        r = m.image * s.F.adjoint(prior * (s.prior_target - s.Fx)) + s.H.adjoint(self.data_residual(s, data))
        with torch.autocast(r.device.type, enabled=False):
            averages = m.image.mean((1, 2, 3))[:, None] * prior.mean((-2, -1)), data.mean((-2, -1))
            return s.x + laid_out_as(r, self.inverse(s, *averages, r))

    def data_residual(self, s: System, weight: Tensor) -> Tensor:
        """G'(d (Gy - z + u_j - GHx)) (B, C, H, W) for d (B, M, H, W), of valid pixels only."""
        if s.mask is None:
            return s.G.adjoint(weight * (s.data_target - s.GHx))
        return s.mask * s.G.adjoint(weight * (s.data_target - s.G(s.mask * s.H(s.x))))

    def inverse(self, s: System, prior: Tensor, data: Tensor, r: Tensor) -> Tensor:
        """P r (B, C, H, W) for the weights' averages m_n p (B, N) and d (B, M)."""
        kernel = s.H.kernel
        reaches = (a + b - 1 for a, b in zip(r.shape[-2:], kernel.shape[-2:], strict=True))
        # Of small images enough for the filters' correlations.
        size = tuple(next_fast_len(max(length, 2 * SIDE - 1), real=True) for length in reaches)
        K = transfer_function(kernel, size).movedim(1, -1)
        blurred = K.conj()[..., :, None] * K[..., None, :]
        system = weighted_power(s.F.weight, prior, size) + blurred * weighted_power(s.G.weight, data, size)
        system = system + self.pull * torch.eye(r.shape[1], device=r.device, dtype=r.dtype)
        # C equations for every frequency.
        solution = torch.linalg.solve(system, torch.fft.rfft2(r, s=size).movedim(1, -1)[..., None])
        step = torch.fft.irfft2(solution[..., 0].movedim(-1, 1), s=size)
        return step[..., : r.shape[-2], : r.shape[-1]]


def weighted_power(bank: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """sum_i w_i conj(T_ic) T_id, T the filters' transfer functions, for every frequency.

    bank (N, C, h, w), weights (B, N) -> (B, H, W//2+1, C, C) for images of `size`. Filters are few and small: it
    is their correlations, summed, that are transformed.
    """
    filters, channels, height, width = bank.shape
    by_filter = {"padding": (height - 1, width - 1), "groups": filters}
    correlations = nnf.conv2d(bank.transpose(0, 1), bank.flatten(0, 1)[:, None], **by_filter)
    correlations = correlations.unflatten(1, (filters, channels))
    total = torch.einsum("bi,dichw->bcdhw", weights, correlations)
    return transfer_function(total, size).permute(0, 3, 4, 1, 2)


SOLVERS.register("newton_denoise")(partial(Denoised, solver=Newton))
