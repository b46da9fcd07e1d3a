"""DSDNet (Kuo, Pan, Chien, Yang, ECCV 2022): unrolled ADMM with learned shrinkage functions.

The network minimises sum_i R_i(F_i x) + sum_j R_j(G_j(y - Hx)) over x. The problem is split into v_i = F_i x and
z_j = G_j(y - Hx) with scaled dual variables u_i, u_j. Each stage has its own filters F and G, its own shrinkage
functions and its own weights in the solver of the x-step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codes.models.network import Network
from codes.models.paper.blur import BORDERS, Blur, Border, odd_sized
from codes.models.paper.cgnet import CGNet
from codes.models.paper.filters import Filters
from codes.models.paper.formats import at_least_float32, match_memory_format
from codes.models.paper.initialisation import PaperInitialisation
from codes.models.paper.released_names import keys_in_file
from codes.models.paper.shrinkage import Maxout
from codes.models.paper.solver import Problem, Solver, System
from codes.models.registry import NetworkOptions, register_preset


class DSDNetOptions(NetworkOptions):
    """Keys of `network_G` for DSDNet, under MMSR's names."""

    which_model_G: Literal["DSDNet"] = "DSDNet"
    in_nc: PositiveInt = Field(3, description="Channels of the input image.")
    out_nc: PositiveInt = Field(3, description="Channels of the output image; equal to in_nc.")
    nf_p: PositiveInt = Field(description="N, number of prior filters F.")
    nf_d: PositiveInt = Field(description="M, number of data filters G.")
    max_nc: PositiveInt = Field(4, description="Affine functions in each maximum of a Maxout layer.")
    n_iter: PositiveInt = Field(alias="nb", description="T, number of stages.")
    upscale: Literal[1] = Field(1, description="A key of MMSR; always 1 here.")
    padding_mode: Border = Field("replicate", alias="pm", description="Border of the blur H.")
    dropout_rate: float = Field(0.0, alias="dp", ge=0, lt=1, description="Dropout before each shrinkage function.")


@dataclass
class State:
    """What each stage changes: x (B, C, H, W) and the dual variables (B, N, H, W), (B, M, H, W), 0 at the start."""

    x: Tensor
    u_i: Tensor | float = 0.0
    u_j: Tensor | float = 0.0


class DSDNet(Network):
    """The network of the paper: `net(blurry, kernel)` restores, `net.initial(blurry, kernel)` gives x0.

    Args:
        in_nc, out_nc: Channels of the image; both are equal.
        nf_p: N, number of prior filters F.
        nf_d: M, number of data filters G.
        max_nc: Affine functions in each maximum of a Maxout.
        n_iter: T, number of stages.
        padding_mode: Border of H: replicate, circular or zero.
        dropout_rate: Rate of the Dropout2d before each shrinkage function.

    Raises:
        ValueError: in_nc and out_nc differ, a number is below 1, or the border is unknown.
    """

    takes_x0 = gives_stages = True
    checkpoint_stages = False

    # The parts. A subclass exchanges one by naming another class.
    initialisation_class: type[nn.Module] = PaperInitialisation
    shrink_v_class: type[nn.Module] = Maxout
    shrink_z_class: type[nn.Module] = Maxout
    solver_class: type[Solver] = CGNet
    # Width of NLNet in the solver, which is fixed in the release.
    nf_n = 64

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf_p: int = 49,
        nf_d: int = 49,
        max_nc: int = 4,
        n_iter: int = 4,
        padding_mode: Border = "replicate",
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        if in_nc != out_nc:
            raise ValueError(f"a deconvolution keeps its channels: in_nc {in_nc}, out_nc {out_nc}")
        if padding_mode not in BORDERS:
            raise ValueError(f"unknown padding_mode '{padding_mode}': one of {', '.join(BORDERS)}")
        if min(in_nc, nf_p, nf_d, max_nc, n_iter) < 1:
            raise ValueError("in_nc, nf_p, nf_d, max_nc and n_iter are at least 1")
        self.in_nc, self.n_iter, self.padding_mode = in_nc, n_iter, padding_mode
        self.initialisation = self.initialisation_class()
        self.F = nn.ModuleList(Filters(in_nc, nf_p) for _ in range(n_iter))
        self.G = nn.ModuleList(Filters(in_nc, nf_d) for _ in range(n_iter))
        self.shrink_v = nn.ModuleList(self.shrink_v_class(nf_p, max_nc, dropout_rate) for _ in range(n_iter))
        self.shrink_z = nn.ModuleList(self.shrink_z_class(nf_d, max_nc, dropout_rate) for _ in range(n_iter))
        self.solver = self.solver_class(n_iter, in_nc, nf_p, nf_d, self.nf_n)
        self.takes_mask = self.solver.takes_mask

    def keys_in_file(self, weights: Mapping[str, Tensor]) -> dict[str, str]:
        """As for Network; a file may also use the names of the authors' release."""
        return keys_in_file(weights)

    @property
    def bytes_per_pixel(self) -> int:
        """Planned memory of `forward` without gradients, in bytes per pixel of an RGB image; an upper bound."""
        return 400 + 95 * (self.F[0].out_channels + self.G[0].out_channels)

    def initial(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """x0 (B, C, H, W), the start of the iteration, not clamped. The kernel as for `forward`."""
        y = at_least_float32(blurry)
        return self.initialisation(y, odd_sized(kernel.to(y.dtype))).to(blurry.dtype)

    def forward(
        self,
        blurry: Tensor,
        kernel: Tensor,
        mask: Tensor | None = None,
        stages: bool = False,
        x0: Tensor | None = None,
    ) -> Tensor | list[Tensor]:
        """Restore blurry images.

        blurry: (B, C, H, W), values in [0, 1]. kernel: (B, h, w), or (B, C, h, w) for one kernel per channel, each
        summing to 1, applied as a cross-correlation. mask: None, or (B, 1, H, W) or (B, C, H, W), 1 at valid pixels.
        x0: None, or a start (B, C, H, W) that the caller knows better, such as a tile's part of the whole image's.
        All are converted to the precision of the weights.
        Returns x_T (B, C, H, W), not clamped; with `stages` the list x_1 ... x_T.
        Raises ValueError for a mask if the solver does not use masks.
        """
        return self.iterate(self.problem(blurry, kernel, mask), x0, stages)

    def problem(self, blurry: Tensor, kernel: Tensor, mask: Tensor | None) -> Problem:
        """y, H and the mask in the precision of the weights; arguments as for `forward`."""
        if mask is not None and not self.takes_mask:
            raise ValueError(f"the solver of this {type(self).__name__} does not use masks")
        blurry, kernel = (tensor.to(self.F[0].weight.dtype) for tensor in (blurry, kernel))
        mask = None if mask is None else mask.expand_as(blurry)
        y = blurry if mask is None else mask * blurry
        return Problem(y, Blur(odd_sized(kernel), y.shape[-2:], border=self.padding_mode), mask)

    def iterate(self, problem: Problem, x0: Tensor | None, stages: bool) -> Tensor | list[Tensor]:
        """All stages, from x0; returns as `forward` does."""
        y = problem.y
        state = State(self.initial(y, problem.H.kernel) if x0 is None else match_memory_format(x0.to(y.dtype), y))
        restored = []
        for t in range(self.n_iter):
            if self.checkpoint_stages and torch.is_grad_enabled():
                self._checkpointed(t, state, problem)
            else:
                self.stage(t, state, problem)
            if stages:
                restored.append(state.x)
        return restored if stages else state.x

    def stage(self, t: int, state: State, problem: Problem) -> None:
        """Stage `t`, which changes `state` in place: v-step, z-step, update of the dual variables, x-step."""
        F, G, H, y, mask = self.F[t], self.G[t], problem.H, problem.y, problem.mask
        x, u_i, u_j = state.x, state.u_i, state.u_j
        Fx, Hx, Gy = F(x), H(x), G(y)
        GHx = G(Hx)
        # G(y - Hx), which is Gy - GHx without masked pixels.
        residual = Gy - GHx if mask is None else G(y - mask * Hx)

        v = self.shrink_v[t](Fx + u_i)
        z = self.shrink_z[t](residual + u_j)
        # As in the release, the dual variables are updated with the x that entered the stage; the paper uses the
        # new one.
        state.u_i = u_i + Fx - v
        state.u_j = u_j + residual - z
        system = System(problem=problem, F=F, G=G, x=x, Fx=Fx, GHx=GHx, prior_target=v - u_i, data_target=Gy - z + u_j)
        # The x-step needs the memory.
        del Fx, Hx, Gy, GHx, residual, v, z, u_i, u_j
        state.x = self.solver(t, system)

    def compile(self, *arguments: Any, **keys: Any) -> None:
        """torch.compile for each stage on its own; with checkpoint_stages nothing would be compiled otherwise."""
        self.stage = torch.compile(self.stage, *arguments, **keys)

    def _checkpointed(self, t: int, state: State, problem: Problem) -> None:
        """Run `stage` with activation checkpointing: store its input only, recompute the rest in the backward pass."""

        def advance(*before: Tensor | float) -> tuple[Tensor | float, ...]:
            after = State(*before)
            self.stage(t, after, problem)
            return after.x, after.u_i, after.u_j

        state.x, state.u_i, state.u_j = checkpoint(advance, state.x, state.u_i, state.u_j, use_reentrant=False)


register_preset("feather", "DSDNet", nf_p=24, nf_d=24, nb=2)
register_preset("light", "DSDNet", nf_p=24, nf_d=24, nb=3)
register_preset("heavy", "DSDNet", nf_p=49, nf_d=49, nb=3)
register_preset("full", "DSDNet", nf_p=49, nf_d=49, nb=4)
# A size of our own, not of the paper: the largest that eight hours of a two-core CPU could train (docs/trials.md).
register_preset("small", "DSDNet", nf_p=12, nf_d=12, nb=3)
