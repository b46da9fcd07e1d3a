"""DSDNet+, the authors' successor (TCSVT 2025): one lighter U-Net is shared by all stages.

The iteration is that of DSDNet; only the solver of the x-step differs.
"""

from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.cgnet import local_average
from codes.models.paper.dsdnet import DSDNet, DSDNetOptions
from codes.models.paper.solver import SOLVERS, Solver, System, Weights
from codes.models.registry import register_network, register_preset


class LayerNorm(nn.Module):
    """Normalise the channels of each pixel: biased variance, learned weight and bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.LayerNorm(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.body(x.movedim(1, -1)).movedim(-1, 1)


class FFN(nn.Module):
    """Gated feed-forward block with simplified channel attention."""

    def __init__(self, channels: int):
        super().__init__()
        width = int(2.66 * channels)
        self.project_in = nn.Conv2d(channels, 2 * width, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width, bias=False)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.project_out = nn.Conv2d(width, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        a, b = self.dwconv(self.project_in(x)).chunk(2, 1)
        gated = nnf.gelu(a) * b
        return self.project_out(gated * self.sca(gated))


class Down(nn.Module):
    """Halve the resolution by a strided convolution, then x + FFN(LN x)."""

    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        self.d = nn.Conv2d(in_nc, out_nc, 3, stride=2, padding=1)
        self.n, self.m = LayerNorm(out_nc), FFN(out_nc)

    def forward(self, x: Tensor) -> Tensor:
        x = self.d(x)
        return x + self.m(self.n(x))


class Up(nn.Module):
    """Pixel shuffle to the skip's size, concatenation, 1x1, then x + FFN(LN x)."""

    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        self.u = nn.Sequential(nn.Conv2d(in_nc, 4 * out_nc, 3, padding=1), nn.PixelShuffle(2))
        self.r = nn.Conv2d(2 * out_nc, out_nc, 1)
        self.n, self.m = LayerNorm(out_nc), FFN(out_nc)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = self.u(x)[..., : skip.shape[-2], : skip.shape[-1]]
        x = self.r(torch.cat([up, skip], 1))
        return x + self.m(self.n(x))


class UNetPlus(nn.Module):
    """(B, t, H, W) -> (B, t, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        t = channels
        self.d1, self.d2, self.d3 = Down(t, 2 * t), Down(2 * t, 4 * t), Down(4 * t, 8 * t)
        self.bot = Down(8 * t, 16 * t)
        self.u3, self.u2 = Up(16 * t, 8 * t), Up(8 * t, 4 * t)
        self.u1, self.u0 = Up(4 * t, 2 * t), Up(2 * t, t)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.d1(x)
        x2 = self.d2(x1)
        x3 = self.d3(x2)
        up = self.u3(self.bot(x3), x3)
        up = self.u2(up, x2)
        up = self.u1(up, x1)
        return self.u0(up, x)


class NLNetPlus(nn.Module):
    """m_n = p + (1x1, depthwise 3x3, 1x1)(p), p the 3x3 average of x; no activation."""

    def __init__(self, in_nc: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(in_nc, 2 * in_nc, 1),
            nn.Conv2d(2 * in_nc, 2 * in_nc, 3, padding=1, groups=2 * in_nc),
            nn.Conv2d(2 * in_nc, in_nc, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        p = local_average(x)
        return p + self.mlp(p)


@SOLVERS.register("cgnet_plus")
class CGNetPlus(Solver):
    """CGNet with one weight per stage for each side of the system, and a learned step along r. It has no NLNet."""

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__()
        self.m_p, self.m_d = nn.Parameter(torch.zeros(n_iter)), nn.Parameter(torch.zeros(n_iter))
        self.gamma = nn.Parameter(torch.zeros(n_iter, 1))
        self.m_n = nn.ModuleList(NLNetPlus(in_nc) for _ in range(n_iter))
        self.unet = UNetPlus(nf_p + nf_d)

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = Weights(torch.sigmoid(self.m_p[t]), torch.sigmoid(self.m_d[t]), self.m_n[t](s.x))
        filters = [s.Fx.shape[1], s.GHx.shape[1]]
        r = s.residual(m)
        s.free_responses()
        directions = self.unet(torch.cat([m.m_p * s.F(r), m.m_d * s.G(s.problem.H(r))], 1))
        return s.x + s.adjoint(m, *directions.split(filters, 1)) + self.gamma[t] * r


class DSDNetPlusOptions(DSDNetOptions):
    """Keys of `network_G` for DSDNet+: those of DSDNet."""

    which_model_G: Literal["DSDNet_plus"] = "DSDNet_plus"


@register_network("DSDNet_plus", DSDNetPlusOptions)
class DSDNetPlus(DSDNet):
    """DSDNet with the solver CGNetPlus, which does not use masks."""

    solver_class = CGNetPlus


register_preset("plus_e", "DSDNet_plus", nf_p=16, nf_d=16, nb=1)
register_preset("plus_p", "DSDNet_plus", nf_p=48, nf_d=48, nb=4)
