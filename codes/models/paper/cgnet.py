"""CGNet, the solver of the paper: one learned step in the manner of conjugate gradients."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.solver import SOLVERS, Solver, System, Weights
from codes.models.paper.unet import UNet


class HypNet(nn.Module):
    """m_p or m_d: a weight in (0, 1) for every pixel and filter, from the image and its mask."""

    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        width = max(1, out_nc // 4)
        self.head = nn.Sequential(nn.Conv2d(2 * in_nc, out_nc, 3, padding=1), nn.ReLU(inplace=True))
        self.res = nn.Sequential(
            nn.Conv2d(out_nc, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, out_nc, 1),
        )

    def forward(self, x_and_mask: Tensor) -> Tensor:
        """(B, 2C, H, W) -> (B, out_nc, H, W)."""
        h = self.head(x_and_mask)
        return torch.sigmoid(h + self.res(h))


class NLNet(nn.Module):
    """m_n: a positive weight for every pixel of the prior's part, from the image and its 3x3 average."""

    def __init__(self, in_nc: int, width: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(2 * in_nc, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, in_nc, 3, padding=1),
            nn.Softplus(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.mlp(torch.cat([x, local_average(x)], 1))


def local_average(x: Tensor) -> Tensor:
    """3x3 average of x (B, C, H, W); at the border the average of the pixels that exist."""
    ones = x.new_ones(1, 1, 3, 3)
    # Two convolutions are many times faster on a CPU than torch's average pooling.
    with torch.autocast(x.device.type, enabled=False):
        total = nnf.conv2d(x, ones.expand(x.shape[1], -1, -1, -1), padding=1, groups=x.shape[1])
        return total / nnf.conv2d(torch.ones_like(x[:1, :1]), ones, padding=1)


class WeightedSolver(Solver):
    """The learned weights of the system, which most solvers have in common.

    A hyper-Laplacian prior makes the weights depend on the image: m_p and m_d scale the filter responses, m_n scales
    the prior's part.
    """

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__()
        self.m_p = nn.ModuleList(HypNet(in_nc, nf_p) for _ in range(n_iter))
        self.m_d = nn.ModuleList(HypNet(in_nc, nf_d) for _ in range(n_iter))
        self.m_n = nn.ModuleList(NLNet(in_nc, nf_n) for _ in range(n_iter))

    def weights(self, t: int, s: System) -> Weights:
        """m_p, m_d and m_n of stage `t`."""
        mask = torch.ones_like(s.x) if s.problem.mask is None else s.problem.mask
        x_and_mask = torch.cat([s.x, mask], 1)
        # NLNet, the widest, comes first. Under autocast each weight is converted to the image's precision once.
        m_n = self.m_n[t](s.x).to(s.x.dtype)
        m_p, m_d = (net[t](x_and_mask).to(s.x.dtype) for net in (self.m_p, self.m_d))
        return Weights(m_p, m_d, m_n)


@SOLVERS.register("cgnet")
class CGNet(WeightedSolver):
    """x + Ad(U-Net(m_p F r, m_d GH r)): the U-Net of the stage turns the residual r into a direction and a step."""

    takes_mask = True

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.unet = nn.ModuleList(UNet(nf_p + nf_d) for _ in range(n_iter))

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        r = s.residual(m)
        s.free_responses()
        directions = self.unet[t](torch.cat([m.m_p * s.F(r), m.m_d * s.G(s.problem.H(r))], 1))
        return s.x + s.adjoint(m, *directions.split([m.m_p.shape[1], m.m_d.shape[1]], 1))
