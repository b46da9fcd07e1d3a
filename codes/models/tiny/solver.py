"""The solver of DSDNetTiny: one step of Newton's method, then a denoiser that all stages share."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.noise import LEAST_SIGMA
from codes.models.paper.blur import centre, fast_length, inner, pad, transfer_function
from codes.models.paper.cgnet import WeightedSolver
from codes.models.paper.formats import at_least_float32, match_memory_format
from codes.models.paper.solver import Problem, System
from codes.models.tiny.denoiser import DenoisingUNet


@dataclass(frozen=True, kw_only=True)
class NoisyProblem(Problem):
    """Problem with the standard deviation sigma (B,) of the noise, in the units of the image."""

    sigma: Tensor


class NewtonPrior(WeightedSolver):
    """D(x + P r, sigma_t): half-quadratic splitting with a denoiser (Zhang et al., TPAMI 2022) as an x-step.

    r is minus half the gradient, at x, of w_t m_n |m_p (Fx - (v - u_i))|^2 + |m_d (G(y - Hx) - (z - u_j))|^2. It
    includes the weights of each pixel, the mask and the borders of H and H'.

    P is the inverse of the second derivative with circular borders, in the Fourier domain. It uses learned constants
    as weights of all pixels, so that a part of an image gets the same P as the whole image.

    D is a denoiser, the same in all stages; it may be trained on its own first (see Denoiser). It removes noise of
    standard deviation sigma_t. Both sigma_t and w_t have the form exp(a_t + b_t log(sigma / 0.02)), where sigma is
    the noise of the blurry image and a_t, b_t are learned. They start as in that paper: sigma_t falls geometrically
    to sigma, and w_t is a constant times (sigma / sigma_t)^2.

    Near its border a blurry image also shows what is beyond the border. H' and P are therefore applied to the
    data's residual in one go, and nothing is cut off between them. Beyond the image that residual fades out.
    """

    takes_mask = True

    # Keeps the step small at frequencies that neither term determines.
    damping = 1e-3
    # The noise level at which sigma_t = exp(a_t) and w_t = exp(of_prior[t, 0]).
    usual_sigma = 0.02
    # sigma_t of the first stage before training.
    first_sigma = 0.05
    # w_t before training, where sigma_t is sigma.
    strength = 0.2
    # Number of pixels by which the cyclic transforms in `step` are longer than H + 2 (h - 1) and W + 2 (w - 1).
    # With it, hardly anything from one side of the image gets to the other side, and the filters' correlations fit.
    margin = 64

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.denoiser = DenoisingUNet(in_nc)
        progress = torch.linspace(0, 1, n_iter) if n_iter > 1 else torch.ones(1)
        log_first, log_usual = math.log(self.first_sigma), math.log(self.usual_sigma)
        # These two are named as in the weight files: a_t and b_t (T, 2) of sigma_t, and those of w_t.
        self.of_denoiser = nn.Parameter(torch.stack([log_first + progress * (log_usual - log_first), progress], 1))
        own = torch.tensor([math.log(self.strength) + 2 * log_usual, 2.0])
        self.of_prior = nn.Parameter(own - 2 * self.of_denoiser.detach())
        # The values that HypNet and NLNet start with: softplus(0) sigmoid(0)^2 and sigmoid(0)^2.
        self.log_prior = nn.Parameter(torch.full((n_iter, nf_p), math.log(math.log(2) / 4)))
        self.log_data = nn.Parameter(torch.full((n_iter, nf_d), math.log(1 / 4)))

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`. The system's problem is a NoisyProblem."""
        level = (s.problem.sigma.clamp(min=LEAST_SIGMA) / self.usual_sigma).log()
        sigma_t, w = ((a_t + b_t * level).exp() for a_t, b_t in (self.of_denoiser[t], self.of_prior[t]))
        m = self.weights(t, s)
        r_prior = m.m_n * s.F.adjoint(w[:, None, None, None] * m.m_p.square() * (s.prior_target - s.Fx))
        r_data = data_residual(s, m.m_d.square())
        with torch.autocast(r_data.device.type, enabled=False):
            step = self.step(t, s, w, at_least_float32(r_prior), at_least_float32(r_data))
            x = s.x + match_memory_format(step.to(s.x.dtype), s.x)
        return self.denoiser(x, sigma_t)

    def step(self, t: int, s: System, w: Tensor, r_prior: Tensor, r_data: Tensor) -> Tensor:
        """P (r_prior + H' r_data), both (B, C, H, W), for w (B,)."""
        H = s.problem.H
        faded = pad(r_data, H.kernel_size, "replicate") * fading(H.kernel_size, H.size, r_data)
        # `faded` includes the reach of the kernel once; the inverse reaches about as far again.
        size = tuple(
            fast_length(length + side - 1 + self.margin)
            for length, side in zip(faded.shape[-2:], H.kernel_size, strict=True)
        )
        K = transfer_function(H.kernel, size)[..., None]
        r = K.conj() * torch.fft.rfft2(faded, s=size)[..., None]
        r = r + torch.fft.rfft2(pad(r_prior, H.kernel_size, "zero"), s=size)[..., None]
        # C equations for each frequency: (B, H', W'//2+1, C, C) and (B, H', W'//2+1, C, 1).
        K = K.movedim(1, -2)
        system = w[:, None, None, None, None] * weighted_power(s.F.weight, self.log_prior[t : t + 1].exp(), size)
        system = system + K.conj() * K.mT * weighted_power(s.G.weight, self.log_data[t : t + 1].exp(), size)
        system = system + self.damping * torch.eye(r_data.shape[1], device=r.device, dtype=r.real.dtype)
        # torch.linalg.solve itself would wait for the GPU, to say whether a matrix is singular.
        solution = torch.linalg.solve_ex(system, r.movedim(1, -2)).result[..., 0].movedim(-1, 1)
        return inner(torch.fft.irfft2(solution, s=size), H.size, H.kernel_size)


def data_residual(s: System, weight: Tensor) -> Tensor:
    """G'(d (Gy - z + u_j - GHx)) (B, C, H, W) for weights d (B, M, H, W), of valid pixels only."""
    mask = s.problem.mask
    if mask is None:
        return s.G.adjoint(weight * (s.data_target - s.GHx))
    return mask * s.G.adjoint(weight * (s.data_target - s.G(mask * s.problem.H(s.x))))


def weighted_power(bank: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """sum_i w_i conj(T_ic) T_id for each frequency, where T are the transfer functions of the filters.

    bank (N, C, h, w), weights (B, N) -> (B, H, W//2+1, C, C) for images of `size`. The filters are few and small, so
    their correlations are summed first and then transformed.
    """
    filters, channels, height, width = bank.shape
    by_filter = {"padding": (height - 1, width - 1), "groups": filters}
    correlations = nnf.conv2d(bank.transpose(0, 1), bank.flatten(0, 1)[:, None], **by_filter)
    correlations = correlations.unflatten(1, (filters, channels))
    total = torch.einsum("bi,dichw->bcdhw", weights, correlations)
    return transfer_function(total, size).permute(0, 3, 4, 1, 2)


def fading(kernel_size: tuple[int, int], image_size: tuple[int, int], like: Tensor) -> Tensor:
    """1 on the image, falling linearly to 0 over the pixels that the kernel reaches beyond it: (H+h-1, W+w-1).

    On the device and in the precision of `like`.
    """
    ramps = []
    for length, before, size in zip(kernel_size, centre(kernel_size), image_size, strict=True):
        after = length - 1 - before
        place = torch.arange(size + length - 1, device=like.device, dtype=like.dtype) - before
        outside = torch.where(place < 0, -place / (before + 1), (place - size + 1) / (after + 1)).clamp(min=0)
        ramps.append(1 - outside)
    return ramps[0][:, None] * ramps[1]
