"""DSDNetTiny: a DSDNet of our own, small enough to be trained on a CPU and to be in the repository.

It is not the paper's network. It differs from DSDNet in these parts:
  solver      one step of Newton's method in the Fourier domain, then a denoiser (solver.py, denoiser.py)
  noise       its standard deviation is estimated from the blurry image, or given by the caller (../noise.py)
  x0          the inverse filter's weight grows with the noise (initialisation.py)
  shrinkage   the same Maxout layers, started as the identity (v) or at zero (z) (shrinkage.py)
  filters     the first ones start as the identity (initialisation.py)
  duals       each stage multiplies u_i and u_j by learned factors, which start at 0
"""

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from codes.models.noise import estimate_noise
from codes.models.paper.dsdnet import DSDNet, DSDNetOptions, State
from codes.models.paper.solver import Problem
from codes.models.registry import register_network, register_preset
from codes.models.tiny.denoiser import Denoiser
from codes.models.tiny.initialisation import AdaptiveInitialisation, start_as_identity
from codes.models.tiny.shrinkage import IdentityMaxout, OutlierMaxout
from codes.models.tiny.solver import NewtonPrior, NoisyProblem
from codes.models.weights import load_weights
from codes.utils.files import from_root


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

    initialisation_class = AdaptiveInitialisation
    shrink_v_class = IdentityMaxout
    shrink_z_class = OutlierMaxout
    solver_class = NewtonPrior

    def __init__(self, nf_p: int = 8, nf_d: int = 8, nf_n: int = 16, **dsdnet):
        self.nf_n = nf_n
        super().__init__(nf_p=nf_p, nf_d=nf_d, **dsdnet)
        for bank in (*self.F, *self.G):
            start_as_identity(bank)
        self.dual_shares = nn.Parameter(torch.zeros(self.n_iter, 2))

    def load_denoiser(self, path: str) -> None:
        """Load the weights of a Denoiser into the solver; see Network."""
        alone = Denoiser(self.in_nc)
        alone.unet = self.solver.denoiser
        load_weights(alone, from_root(path))

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
        problem = self.problem(blurry, kernel, mask)
        if sigma is None:
            sigma = estimate_noise(problem.y, problem.mask)
        elif sigma.shape != blurry.shape[:1]:
            raise ValueError(f"sigma: a tensor (B,) is needed, not one of shape {tuple(sigma.shape)}")
        noisy = NoisyProblem(problem.y, problem.H, problem.mask, sigma=sigma.to(problem.y.dtype))
        return self.iterate(noisy, x0, stages)

    def stage(self, t: int, state: State, problem: Problem) -> None:
        """Stage `t` of DSDNet with the dual variables scaled by learned factors."""
        state.u_i, state.u_j = self.dual_shares[t, 0] * state.u_i, self.dual_shares[t, 1] * state.u_j
        super().stage(t, state, problem)


register_preset("tiny", "DSDNetTiny", nf_p=8, nf_d=8, nb=4)
