"""The released network, written out literally with the authors' key names, to load exported weight files into."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from studies.reference import blur, blur_adjoint


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

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(torch.cat([x, nnf.avg_pool2d(x, 3, 1, 1, count_include_pad=False)], 1))


class Maxout(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4 * channels, 3, 1, 1, groups=channels)
        self.conv2 = nn.Conv2d(channels, 4 * channels, 3, 1, 1, groups=channels)

    def forward(self, a: Tensor) -> Tensor:
        first, second = (conv(a).unflatten(1, (-1, 4)).amax(2) for conv in (self.conv1, self.conv2))
        return first - second


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

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.m(torch.cat([self.u(x, output_size=skip.shape[-2:]), skip], 1))


class Inverse(nn.Module):
    def __init__(self, prior: int, data: int):
        super().__init__()
        t = prior + data
        self.conv_prior = nn.Conv2d(3, prior, 7, 1, 3, bias=False)
        self.conv_data = nn.Conv2d(3, data, 7, 1, 3, bias=False)
        self.d1, self.d2, self.d3 = Down(t, 2 * t), Down(2 * t, 4 * t), Down(4 * t, 8 * t)
        self.bot = nn.Sequential(nn.MaxPool2d(3, 2, 1), *convolutions(8 * t, 16 * t))
        self.u3, self.u2, self.u1, self.u0 = Up(16 * t, 8 * t), Up(8 * t, 4 * t), Up(4 * t, 2 * t), Up(2 * t, t)

    def unet(self, x: Tensor) -> Tensor:
        x1 = self.d1.d(x)
        x2 = self.d2.d(x1)
        x3 = self.d3.d(x2)
        return self.u0(self.u1(self.u2(self.u3(self.bot(x3), x3), x2), x1), x)

    def forward(self, x, y, k, m_n, m_p, m_d, v, z, u_i, u_j) -> Tensor:
        def adjoint(a: Tensor, b: Tensor) -> Tensor:
            prior = nnf.conv_transpose2d(m_p * a, self.conv_prior.weight, padding=3)
            return m_n * prior + blur_adjoint(nnf.conv_transpose2d(m_d * b, self.conv_data.weight, padding=3), k)

        F, G = self.conv_prior, self.conv_data
        Hx = blur(x, k, "replicate")
        r = adjoint(v - u_i, G(y) - z + u_j) - adjoint(m_p * F(x), m_d * G(Hx))
        directions = self.unet(torch.cat([m_p * F(r), m_d * G(blur(r, k, "replicate"))], 1))
        return x + adjoint(*directions.split([m_p.shape[1], m_d.shape[1]], 1))


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
        u_i = u_j = 0.0
        for hp, hd, hn, p, d, i in zip(self.hp, self.hd, self.hn, self.p, self.d, self.i, strict=True):
            x_and_mask = torch.cat([x, torch.ones_like(x)], 1)
            Fx, residual = p.conv(x), d.conv(y - blur(x, k, "replicate"))
            v, z = p.m(Fx + u_i), d.m(residual + u_j)
            new_x = i(x, y, k, hn(x), hp(x_and_mask), hd(x_and_mask), v, z, u_i, u_j)
            u_i, u_j, x = u_i + Fx - v, u_j + residual - z, new_x
        return x
