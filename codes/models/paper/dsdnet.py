"""DSDNet (Kuo, Pan, Chien, Yang, ECCV 2022): unrolled ADMM with learned shrinkage functions.

Minimise over x: sum_i R_i(F_i x) + sum_j R_j(G_j(y - Hx)), split into v_i = F_i x and
z_j = G_j(y - Hx) with scaled duals u_i, u_j. Every stage has its own filters F, G, its own
shrinkage functions and its own x-step.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codes.models.paper.blur import BORDERS, Blur, Border, odd_sized
from codes.models.paper.cgnet import SOLVERS, System
from codes.models.paper.filters import Filters
from codes.models.paper.initialisation import INITIALISATIONS
from codes.models.paper.layout import laid_out_as
from codes.models.tiny.noise import estimate_noise
from codes.models.network import Network
from codes.models.paper.released_names import translate_in_place
from codes.models.paper.shrinkage import SHRINKAGES
from codes.models.registry import NetworkOptions, register_network, register_preset


class DSDNetOptions(NetworkOptions):
    """Keys of `network_G` for DSDNet, under MMSR's names."""

    which_model_G: Literal["DSDNet"] = "DSDNet"
    in_nc: PositiveInt = 3
    out_nc: PositiveInt = 3
    nf_p: PositiveInt
    """N, number of prior filters F"""
    nf_d: PositiveInt
    """M, number of data filters G"""
    max_nc: PositiveInt = 4
    """candidates of each maximum in a Maxout layer"""
    n_iter: PositiveInt = Field(alias="nb")
    """T, number of stages"""
    upscale: Literal[1] = 1
    padding_mode: Border = Field("replicate", alias="pm")
    """border of H"""
    dropout_rate: float = Field(0.0, alias="dp", ge=0, lt=1)
    nf_n: PositiveInt = 64
    """width of NLNet"""
    init: str = "paper"
    shrinkage: str = "maxout"
    shrinkage_z: str | None = None
    """of the data term; the same as `shrinkage` if not given"""
    solver: str = "cgnet"
    filter_start: Literal["random", "identity"] = "random"
    """what F and G are before training"""
    duals: Literal["whole", "learned"] = "whole"
    """what a stage takes of the duals that it is handed: all, or a learned share that starts from none"""


@dataclass
class State:
    """What goes from stage to stage: x (B, C, H, W) and the duals (B, N, H, W), (B, M, H, W), 0 at first."""

    x: Tensor
    u_i: Tensor | float = 0.0
    u_j: Tensor | float = 0.0


@register_network("DSDNet", DSDNetOptions)
class DSDNet(Network):
    """The network: `net(blurry, kernel)` restores, `net.initial(blurry, kernel)` gives x0.

    in_nc, out_nc: channels of the image, equal. nf_p, nf_d: N prior and M data filters.
    max_nc: candidates of a maximum. n_iter: T stages. padding_mode: border of H.
    dropout_rate: of the Dropout2d before each shrinkage. nf_n: width of NLNet.
    init, shrinkage, solver: names in INITIALISATIONS, SHRINKAGES, SOLVERS; shrinkage_z: that of the
    data term where it is another one.
    filter_start: whether F and G are random before training, or begin with the image itself.
    duals: whether a stage takes the duals as they are, or a learned share of each: with none it is half-quadratic
    splitting.
    Raises ValueError where in_nc and out_nc differ, a number is below 1 or the border unknown;
    UserError for an unknown name.
    """

    takes_x0 = gives_stages = reads_released_names = True

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
        nf_n: int = 64,
        init: str = "paper",
        shrinkage: str = "maxout",
        solver: str = "cgnet",
        filter_start: Literal["random", "identity"] = "random",
        shrinkage_z: str | None = None,
        duals: Literal["whole", "learned"] = "whole",
    ):
        super().__init__()
        if in_nc != out_nc:
            raise ValueError(f"a deconvolution keeps its channels: in_nc {in_nc}, out_nc {out_nc}")
        if padding_mode not in BORDERS:
            raise ValueError(f"unknown padding_mode '{padding_mode}': one of {', '.join(BORDERS)}")
        if min(in_nc, nf_p, nf_d, max_nc, n_iter, nf_n) < 1:
            raise ValueError("in_nc, nf_p, nf_d, max_nc, n_iter and nf_n are at least 1")
        self.in_nc, self.n_iter, self.padding_mode = in_nc, n_iter, padding_mode
        shrink_prior, shrink_data = SHRINKAGES[shrinkage], SHRINKAGES[shrinkage_z or shrinkage]
        self.initialise = INITIALISATIONS[init]()
        self.F = nn.ModuleList(Filters(in_nc, nf_p) for _ in range(n_iter))
        self.G = nn.ModuleList(Filters(in_nc, nf_d) for _ in range(n_iter))
        self.shrink_v = nn.ModuleList(shrink_prior(nf_p, max_nc, dropout_rate) for _ in range(n_iter))
        self.shrink_z = nn.ModuleList(shrink_data(nf_d, max_nc, dropout_rate) for _ in range(n_iter))
        self.solver = SOLVERS[solver](n_iter, in_nc, nf_p, nf_d, nf_n)
        if filter_start == "identity":
            for bank in (*self.F, *self.G):
                bank.start_as_identity()
        self.dual_shares = nn.Parameter(torch.zeros(n_iter, 2)) if duals == "learned" else None
        self.register_load_state_dict_pre_hook(translate_in_place)

    @property
    def takes_mask(self) -> bool:
        """True if the x-step uses a mask."""
        return self.solver.takes_mask

    @property
    def takes_sigma(self) -> bool:
        """True if the x-step uses the noise level."""
        return self.solver.takes_sigma

    @property
    def bytes_per_pixel(self) -> int:
        """Memory of `forward` without gradients, in bytes per pixel of an RGB image, as measured on a CPU."""
        return 400 + 95 * (self.F[0].out_channels + self.G[0].out_channels)

    def initial(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """x0 (B, C, H, W), before any stage; not clamped. The kernel as for `forward`."""
        return self.initialise(blurry, odd_sized(kernel.to(blurry.dtype)))

    def forward(
        self,
        blurry: Tensor,
        kernel: Tensor,
        mask: Tensor | None = None,
        stages: bool = False,
        x0: Tensor | None = None,
        sigma: Tensor | None = None,
    ) -> Tensor | list[Tensor]:
        """Restore blurry images.

        blurry: (B, C, H, W), values in [0, 1]. kernel: (B, h, w), or (B, C, h, w) for one a
        channel, each summing to 1, applied as a cross-correlation. mask: None, or (B, 1, H, W) or
        (B, C, H, W), 1 at valid pixels. x0: None, or a start (B, C, H, W) that a caller knows
        better, such as a tile's part of the whole image's. sigma: None, or the standard deviation (B,) of the
        noise, for an x-step that heeds it, which else takes an estimate. All are brought to the weights' precision.
        Returns x_T (B, C, H, W), not clamped; with `stages` the list x_1 ... x_T.
        Raises ValueError for a mask or sigma where the x-step has no use for one, or a sigma of another shape.
        """
        if mask is not None and not self.takes_mask:
            raise ValueError(f"the x-step of this {type(self).__name__} takes no mask")
        blurry, kernel = (tensor.to(self.F[0].weight.dtype) for tensor in (blurry, kernel))
        m = None if mask is None else mask.expand_as(blurry)
        y = blurry if m is None else m * blurry
        kernel = odd_sized(kernel)
        H = Blur(kernel, y.shape[-2:], border=self.padding_mode)
        state = State(self.initialise(y, kernel) if x0 is None else laid_out_as(y, x0.to(y.dtype)))
        if sigma is not None and not self.solver.takes_sigma:
            raise ValueError(f"sigma: the x-step {type(self.solver).__name__} does not heed it")
        if sigma is not None and sigma.shape != blurry.shape[:1]:
            raise ValueError(f"sigma: a tensor (B,) is needed, not of shape {tuple(sigma.shape)}")
        if self.solver.takes_sigma:
            sigma = estimate_noise(blurry, m) if sigma is None else sigma.to(y.dtype)
        restored = []
        for t in range(self.n_iter):
            if self.checkpoint_stages and torch.is_grad_enabled():

                def advanced(*state: Tensor | float, t: int = t) -> tuple[Tensor | float, ...]:
                    following = State(*state)
                    self.stage(t, following, y, H, m, sigma)
                    return following.x, following.u_i, following.u_j

                state = State(*checkpoint(advanced, state.x, state.u_i, state.u_j, use_reentrant=False))
            else:
                self.stage(t, state, y, H, m, sigma)
            if stages:
                restored.append(state.x)
        return restored if stages else state.x

    def stage(self, t: int, state: State, y: Tensor, H: Blur, m: Tensor | None, sigma: Tensor | None = None) -> None:
        """Stage `t`: v-, z- and x-step and the duals' update. Changes `state`, so that nothing old is kept."""
        x, u_i, u_j = state.x, state.u_i, state.u_j
        if self.dual_shares is not None:
            u_i, u_j = self.dual_shares[t, 0] * u_i, self.dual_shares[t, 1] * u_j
        F, G = self.F[t], self.G[t]
        Fx, Hx, Gy = F(x), H(x), G(y)
        GHx = G(Hx)
        # G(y - Hx) = Gy - GHx, but for masked pixels.
        residual = Gy - GHx if m is None else G(y - m * Hx)

        # The duals take the x that entered the stage, as released; the paper writes the new one.
        v = self.shrink_v[t](Fx + u_i)
        prior_target = v - u_i
        state.u_i = u_i + Fx - v
        del v, u_i  # here and below: the memory is needed
        z = self.shrink_z[t](residual + u_j)
        data_target = Gy - z + u_j
        state.u_j = u_j + residual - z
        system = System(x, Fx, GHx, prior_target, data_target, F, G, H, m, sigma)
        del Fx, Hx, Gy, GHx, residual, z, u_j, prior_target, data_target
        state.x = self.solver(t, system)


register_preset("feather", "DSDNet", nf_p=24, nf_d=24, nb=2)
register_preset("light", "DSDNet", nf_p=24, nf_d=24, nb=3)
register_preset("heavy", "DSDNet", nf_p=49, nf_d=49, nb=3)
register_preset("full", "DSDNet", nf_p=49, nf_d=49, nb=4)
# Ours, not the paper's: small enough to be trained on a CPU and to lie in the repository.
register_preset(
    "tiny",
    "DSDNet",
    nf_p=8,
    nf_d=8,
    nb=4,
    nf_n=16,
    init="adaptive",
    shrinkage="maxout_identity",
    shrinkage_z="maxout_outliers",
    solver="newton_prior",
    filter_start="identity",
    duals="learned",
)
