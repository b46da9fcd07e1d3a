"""DSDNetTiny: a DSDNet of our own, small enough to be trained on a CPU and to be in the repository.

It is not the paper's network. It differs from DSDNet in these parts:
  x-step      one step of Newton's method in the Fourier domain, then a denoiser (x_step.py, denoiser.py)
  noise       its standard deviation is estimated from the blurry image, or given by the caller (../noise.py)
  x0          the inverse filter's weight grows with the noise (start.py)
  shrinkage   the same Maxout layers, started as the identity (v) or at zero (z) (shrinkage.py)
  filters     the first ones start as the identity (start.py)
  duals       each stage multiplies u_i and u_j by learned factors, which start at 0
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from codes.models.noise import estimate_noise
from codes.models.paper.blur import Blur
from codes.models.paper.dsdnet import DSDNet, DSDNetOptions, Given, State
from codes.models.paper.filters import Filters
from codes.models.registry import register_network, register_preset
from codes.models.tiny.denoiser import DenoisingUNet
from codes.models.tiny.shrinkage import IdentityMaxout, OutlierMaxout
from codes.models.tiny.start import AdaptiveInitialisation, start_as_identity
from codes.models.tiny.x_step import NewtonPrior, NoisySystem


@dataclass
class NoisyGiven(Given):
    """Given with the standard deviation sigma (B,) of the noise, in the units of the image."""

    sigma: Tensor | None = None


class DSDNetTinyOptions(DSDNetOptions):
    """Keys of `network_G` for DSDNetTiny: those of DSDNet, with defaults, and the width of NLNet."""

    which_model_G: Literal["DSDNetTiny"] = "DSDNetTiny"
    nf_p: PositiveInt = Field(8, description="N, number of prior filters F.")
    nf_d: PositiveInt = Field(8, description="M, number of data filters G.")
    n_iter: PositiveInt = Field(4, alias="nb", description="T, number of stages.")
    nf_n: PositiveInt = Field(16, description="Width of NLNet.")


@register_network("DSDNetTiny", DSDNetTinyOptions)
class DSDNetTiny(DSDNet):
    """DSDNet with the parts above. Arguments are those of DSDNet, and nf_n, the width of NLNet."""

    takes_sigma = True

    x0_part = AdaptiveInitialisation
    shrinkage_v = IdentityMaxout
    shrinkage_z = OutlierMaxout

    def __init__(self, nf_p: int = 8, nf_d: int = 8, nf_n: int = 16, **dsdnet):
        self.x_step = partial(NewtonPrior, nf_n=nf_n)
        super().__init__(nf_p=nf_p, nf_d=nf_d, **dsdnet)
        for bank in (*self.F, *self.G):
            start_as_identity(bank)
        self.dual_shares = nn.Parameter(torch.zeros(self.n_iter, 2))

    @property
    def denoiser(self) -> DenoisingUNet:
        """The denoiser of the x-step, which `path.pretrain_denoiser` can load."""
        return self.solver.denoiser

    def forward(
        self,
        blurry: Tensor,
        kernel: Tensor,
        mask: Tensor | None = None,
        stages: bool = False,
        x0: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor | list[Tensor]:
        """Restore blurry images, as DSDNet does.

        sigma: None, or the standard deviation (B,) of the noise in the units of the image; None uses an estimate.
        Raises ValueError for a sigma of another shape.
        """
        given = self.given(blurry, kernel, mask)
        if sigma is None:
            sigma = estimate_noise(given.y, given.mask)
        elif sigma.shape != blurry.shape[:1]:
            raise ValueError(f"sigma: a tensor (B,) is needed, not one of shape {tuple(sigma.shape)}")
        noisy = NoisyGiven(given.y, given.H, given.mask, sigma.to(given.y.dtype))
        return self.iterate(noisy, x0, stages)

    def stage(self, t: int, state: State, given: Given) -> None:
        """Stage `t` of DSDNet with the learned share of the dual variables."""
        state.u_i, state.u_j = self.dual_shares[t, 0] * state.u_i, self.dual_shares[t, 1] * state.u_j
        super().stage(t, state, given)

    def system(self, given: NoisyGiven, *parts: Tensor | Filters | Blur | None) -> NoisySystem:
        """The system of an x-step with the noise level."""
        return NoisySystem(*parts, sigma=given.sigma)


register_preset("tiny", "DSDNetTiny", nf_p=8, nf_d=8, nb=4)
