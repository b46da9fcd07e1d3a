"""Newton's step with a prior as strong as the noise asks for, then one denoiser for all stages."""

import math

import torch
from torch import Tensor, nn

from codes.models.paper.blur import centre, fast_length, pad, transfer_function
from codes.models.paper.cgnet import SOLVERS, System
from codes.models.tiny.denoiser import DenoisingUNet
from codes.models.paper.initialisation import inner
from codes.models.paper.layout import laid_out_as
from codes.models.tiny.newton import Newton, weighted_power
from codes.models.tiny.noise import LEAST_SIGMA


@SOLVERS.register("newton_prior")
class NewtonPrior(Newton):
    """D(x + P r, sigma_t): half-quadratic splitting with a denoiser (Zhang et al., TPAMI 2022), as an x-step.

    r and P are Newton's, the prior's part times w_t. Both sigma_t, the noise that D takes off, and w_t are
    exp(a_t + b_t log(sigma / 0.02)) of the blurry image's noise sigma, a_t and b_t learned. They start as in that
    paper: sigma_t falls geometrically to sigma, w_t is a constant times (sigma / sigma_t)^2. P takes learned constants
    for the weights of the pixels, so that a part of an image is treated as the whole is. D is the same at all
    stages, and may be trained on its own before (see Denoiser).

    Near the border a blurry image shows what lies beyond, too: H' and P are applied to the data's residual as one,
    and nothing is cut off between them. Beyond the image that residual fades out.
    """

    takes_sigma = True
    usual_sigma = 0.02
    """at which exp(a_t) is what counts"""
    first_sigma = 0.05
    """of D at the first stage, at first"""
    strength = 0.2
    """of w_t where sigma_t is sigma, at first"""
    room = 64
    """pixels that the cyclic transforms of `step` have beyond H + 2 (h - 1) and W + 2 (w - 1): of what happens at one
    side of the image hardly anything comes in at the other, and the filters' correlations fit"""

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.denoiser = DenoisingUNet(in_nc)
        progress = torch.linspace(0, 1, n_iter) if n_iter > 1 else torch.ones(1)
        log_first, log_usual = math.log(self.first_sigma), math.log(self.usual_sigma)
        self.of_denoiser = nn.Parameter(torch.stack([log_first + progress * (log_usual - log_first), progress], 1))
        own = torch.tensor([math.log(self.strength) + 2 * log_usual, 2.0])
        self.of_prior = nn.Parameter(own - 2 * self.of_denoiser.detach())
        # As the networks of the weights begin: softplus(0) sigmoid(0)^2 and sigmoid(0)^2.
        self.log_prior = nn.Parameter(torch.full((n_iter, nf_p), math.log(math.log(2) / 4)))
        self.log_data = nn.Parameter(torch.full((n_iter, nf_d), math.log(1 / 4)))

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`, for a system with its sigma."""
        level = (s.sigma.clamp(min=LEAST_SIGMA) / self.usual_sigma).log()
        sigma_t, w = ((of[t, 0] + of[t, 1] * level).exp() for of in (self.of_denoiser, self.of_prior))
        m = self.weights(t, s)
        of_prior = m.image * s.F.adjoint(w[:, None, None, None] * m.prior.square() * (s.prior_target - s.Fx))
        of_data = self.data_residual(s, m.data.square())
        with torch.autocast(of_data.device.type, enabled=False):
            x = s.x + laid_out_as(s.x, self.step(t, s, w, of_prior, of_data))
        return self.denoiser(x, sigma_t)

    def step(self, t: int, s: System, w: Tensor, of_prior: Tensor, of_data: Tensor) -> Tensor:
        """P (of_prior + H' of_data), both (B, C, H, W), for w (B,)."""
        kernel, image_size = s.H.kernel, s.H.size
        faded = pad(of_data, s.H.kernel_size, "replicate") * fading(s.H.kernel_size, image_size, of_data)
        # Between the image's sides lies the kernel's reach already; the inverse reaches about as far again.
        size = tuple(
            fast_length(length + side - 1 + self.room)
            for length, side in zip(faded.shape[-2:], s.H.kernel_size, strict=True)
        )
        K = transfer_function(kernel, size)[..., None]
        r = K.conj() * torch.fft.rfft2(faded, s=size)[..., None]
        r = r + torch.fft.rfft2(pad(of_prior, s.H.kernel_size, "zero"), s=size)[..., None]
        # For every frequency C equations: (B, H', W'//2+1, C, C) and (B, H', W'//2+1, C, 1).
        K = K.movedim(1, -2)
        system = w[:, None, None, None, None] * weighted_power(s.F.weight, self.log_prior[t : t + 1].exp(), size)
        system = system + K.conj() * K.mT * weighted_power(s.G.weight, self.log_data[t : t + 1].exp(), size)
        system = system + self.pull * torch.eye(of_data.shape[1], device=r.device, dtype=r.real.dtype)
        solution = torch.linalg.solve(system, r.movedim(1, -2))[..., 0].movedim(-1, 1)
        return inner(torch.fft.irfft2(solution, s=size), image_size, s.H.kernel_size)


def fading(kernel_size: tuple[int, int], image_size: tuple[int, int], like: Tensor) -> Tensor:
    """1 on an image, falling linearly to 0 over what a kernel reaches beyond it: (H+h-1, W+w-1).

    On the device and in the precision of `like`.
    """
    ramps = []
    for length, before, size in zip(kernel_size, centre(kernel_size), image_size, strict=True):
        after = length - 1 - before
        place = torch.arange(size + length - 1, device=like.device, dtype=like.dtype) - before
        outside = torch.where(place < 0, -place / (before + 1), (place - size + 1) / (after + 1)).clamp(min=0)
        ramps.append(1 - outside)
    return ramps[0][:, None] * ramps[1]
