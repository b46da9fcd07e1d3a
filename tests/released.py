"""The released network, written out literally with the authors' key names, to load exported weight files into."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from studies.reference import LiteralDSDNet


def convolutions(in_nc: int, out_nc: int) -> list[nn.Module]:
    return [nn.Conv2d(in_nc, out_nc, 3, 1, 1), nn.ReLU(), nn.Conv2d(out_nc, out_nc, 3, 1, 1), nn.ReLU()]


class Hyp(nn.Module):
    def __init__(self, out_nc: int):
        super().__init__()
        width = out_nc // 4
        self.head = nn.Sequential(nn.Conv2d(6, out_nc, 3, 1, 1), nn.ReLU())
        middle = [nn.Conv2d(out_nc, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()]
        self.res = nn.Sequential(*middle, nn.Conv2d(width, out_nc, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(x)
        return torch.sigmoid(h + self.res(h))


class NL(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(*convolutions(6, 64), nn.Conv2d(64, 3, 3, 1, 1), nn.Softplus())


class Maxout(nn.Module):
    max_nc = 4

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, 3, 1, 1, groups=channels)
        self.conv2 = nn.Conv2d(channels, 4 * channels, 3, 1, 1, groups=channels)


class Shrinkage(nn.Module):
    def __init__(self, filters: int):
        super().__init__()
        self.conv, self.m = nn.Conv2d(3, filters, 7, 1, 3, bias=False), Maxout(filters)


class Down(nn.Module):
    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        self.d = nn.Sequential(nn.MaxPool2d(3, 2, 1), *convolutions(in_nc, out_nc))


class Up(nn.Module):
    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        self.u = nn.ConvTranspose2d(in_nc, out_nc, 3, 2, 1)
        self.m = nn.Sequential(*convolutions(2 * out_nc, out_nc))


class Inverse(nn.Module):
    def __init__(self, prior: int, data: int):
        super().__init__()
        t = prior + data
        self.conv_prior = nn.Conv2d(3, prior, 7, 1, 3, bias=False)
        self.conv_data = nn.Conv2d(3, data, 7, 1, 3, bias=False)
        self.d1, self.d2, self.d3 = Down(t, 2 * t), Down(2 * t, 4 * t), Down(4 * t, 8 * t)
        self.bot = nn.Sequential(nn.MaxPool2d(3, 2, 1), *convolutions(8 * t, 16 * t))
        self.u3, self.u2, self.u1, self.u0 = Up(16 * t, 8 * t), Up(8 * t, 4 * t), Up(4 * t, 2 * t), Up(2 * t, t)


class ReleasedDSDNet(nn.Module):
    """The released class without a mask; x0 is given by the caller."""

    def __init__(self, prior: int, data: int, stages: int):
        super().__init__()
        self.hp = nn.ModuleList(Hyp(prior) for _ in range(stages))
        self.hd = nn.ModuleList(Hyp(data) for _ in range(stages))
        self.hn = nn.ModuleList(NL() for _ in range(stages))
        self.p = nn.ModuleList(Shrinkage(prior) for _ in range(stages))
        self.d = nn.ModuleList(Shrinkage(data) for _ in range(stages))
        self.i = nn.ModuleList(Inverse(prior, data) for _ in range(stages))

    def forward(self, y: Tensor, k: Tensor, x: Tensor) -> Tensor:
        for part, inverse in zip(self.p, self.i, strict=True):
            assert torch.equal(part.conv.weight, inverse.conv_prior.weight)
        for part, inverse in zip(self.d, self.i, strict=True):
            assert torch.equal(part.conv.weight, inverse.conv_data.weight)
        net = SimpleNamespace(n_iter=len(self.i), padding_mode="replicate", initialisation=lambda *_: x)
        net.F, net.shrink_v = [part.conv for part in self.p], [part.m for part in self.p]
        net.G, net.shrink_z = [part.conv for part in self.d], [part.m for part in self.d]
        net.solver = SimpleNamespace(m_p=self.hp, m_d=self.hd, m_n=self.hn, unet=self.i)
        return LiteralDSDNet(net)(y, k)
