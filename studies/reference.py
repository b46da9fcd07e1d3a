"""Literal DSDNets: each equation as it stands, nothing shared, nothing fast.

Direct grouped convolutions for the blur, MaxPool3d for Maxout, each term computed on its own. A literal network uses
the weights of the network under test, which has to give the same images.
"""

import torch
import torch.nn.functional as nnf
from scipy.fft import next_fast_len
from torch import Tensor, nn

from codes.models.noise import estimate_noise
from codes.models.paper.dsdnet import DSDNet
from codes.models.tiny.dsdnet_tiny import DSDNetTiny


def blur(x: Tensor, kernel: Tensor, border: str) -> Tensor:
    """Hx by direct convolution: x (B, C, H, W), kernel (B, h, w) of odd sides."""
    batch, channels = x.shape[:2]
    (h, w), mode = kernel.shape[-2:], "constant" if border == "zero" else border
    padded = nnf.pad(x, ((w - 1) // 2, w // 2, (h - 1) // 2, h // 2), mode=mode)
    weight = kernel[:, None].repeat_interleave(channels, 0)
    return nnf.conv2d(padded.flatten(0, 1)[None], weight, groups=batch * channels).view(x.shape)


def blur_adjoint(y: Tensor, kernel: Tensor) -> Tensor:
    """H'y: correlation with the flipped kernel, zero border."""
    return blur(y, kernel.flip(-2, -1), "zero")


def maxout(shrink: nn.Module, a: Tensor) -> Tensor:
    batch, channels, *size = a.shape
    maximum, gain = nn.MaxPool3d((shrink.max_nc, 1, 1)), getattr(shrink, "gain", 1.0)
    first, second = maximum(shrink.conv1(gain * a)), maximum(shrink.conv2(gain * a))
    return (first - second).view(batch, channels, *size) / gain


class LiteralDSDNet(nn.Module):
    """The stages of `net`, a DSDNet or a DSDNetTiny, written out."""

    def __init__(self, net: DSDNet):
        super().__init__()
        self.net = net

    def forward(self, blurry: Tensor, kernel: Tensor, mask: Tensor | None = None) -> Tensor:
        net, k = self.net, kernel
        tiny = isinstance(net, DSDNetTiny)
        m = torch.ones_like(blurry) if mask is None else mask.expand_as(blurry)
        y = m * blurry
        x, u_i, u_j = net.initialisation(y, k), 0, 0
        for t in range(net.n_iter):
            if tiny:
                u_i, u_j = net.dual_shares[t, 0] * u_i, net.dual_shares[t, 1] * u_j
            stage = Stage(net, t, x, m, k)
            residual = stage.G(y - m * blur(x, k, net.padding_mode))
            v = maxout(net.shrink_v[t], stage.F(x) + u_i)
            z = maxout(net.shrink_z[t], residual + u_j)
            step = stage.newton_prior if tiny else stage.cgnet
            new_x = step(v - u_i, stage.G(y) - z + u_j, estimate_noise(blurry, mask))
            u_i, u_j, x = u_i + stage.F(x) - v, u_j + residual - z, new_x
        return x


class Stage:
    """Filters, weights and x-step of stage `t` at x."""

    def __init__(self, net: DSDNet, t: int, x: Tensor, m: Tensor, k: Tensor):
        self.solver, self.border, self.t, self.x, self.m, self.k = net.solver, net.padding_mode, t, x, m, k
        self.weight_F, self.weight_G = net.F[t].weight, net.G[t].weight
        self.m_p, self.m_d = (weights[t](torch.cat([x, m], 1)) for weights in (self.solver.m_p, self.solver.m_d))
        average = nnf.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        self.m_n = self.solver.m_n[t].mlp(torch.cat([x, average], 1))

    def F(self, x: Tensor) -> Tensor:
        return nnf.conv2d(x, self.weight_F, padding=3)

    def G(self, x: Tensor) -> Tensor:
        return nnf.conv2d(x, self.weight_G, padding=3)

    def F_adjoint(self, a: Tensor) -> Tensor:
        return nnf.conv_transpose2d(a, self.weight_F, padding=3)

    def G_adjoint(self, b: Tensor) -> Tensor:
        return nnf.conv_transpose2d(b, self.weight_G, padding=3)

    def H(self, x: Tensor) -> Tensor:
        return blur(x, self.k, self.border)

    def cgnet(self, prior_target: Tensor, data_target: Tensor, sigma: Tensor) -> Tensor:
        """x + Ad(U-Net(m_p F r, m_d G H r)) for the residual r of the system."""

        def Ad(a: Tensor, b: Tensor) -> Tensor:
            return self.m_n * self.F_adjoint(self.m_p * a) + blur_adjoint(self.G_adjoint(self.m_d * b), self.k)

        def A(x: Tensor) -> Tensor:
            prior = self.m_n * self.F_adjoint(self.m_p**2 * self.F(x))
            return prior + blur_adjoint(self.G_adjoint(self.m_d**2 * self.G(self.H(x))), self.k)

        r = Ad(prior_target, data_target) - A(self.x)
        directions = unet(self.solver.unet[self.t], torch.cat([self.m_p * self.F(r), self.m_d * self.G(self.H(r))], 1))
        return self.x + Ad(*directions.split([self.m_p.shape[1], self.m_d.shape[1]], 1))

    def newton_prior(self, prior_target: Tensor, data_target: Tensor, sigma: Tensor) -> Tensor:
        """D(x + P r, sigma_t)."""
        solver, t, m = self.solver, self.t, self.m
        level = (sigma.clamp(min=0.002) / 0.02).log()
        w = (solver.of_prior[t, 0] + solver.of_prior[t, 1] * level).exp()
        prior = w[:, None, None, None] * self.m_n * self.F_adjoint(self.m_p**2 * (prior_target - self.F(self.x)))
        data = m * self.G_adjoint(self.m_d**2 * (data_target - self.G(m * self.H(self.x))))
        sigma_t = (solver.of_denoiser[t, 0] + solver.of_denoiser[t, 1] * level).exp()
        return denoised(solver.denoiser, self.x + self.inverse(w, prior, data), sigma_t)

    def inverse(self, w: Tensor, of_prior: Tensor, of_data: Tensor) -> Tensor:
        """(w sum_i p_i T_i* T_i' + d_j |K|^2 S_j* S_j' + damping)^-1 (of_prior + K* of_data).

        This includes the pixels around the image that the kernel reaches: of_prior is zero there, of_data fades from
        the values at the border.
        """
        solver, (height, width), (h, w_) = self.solver, of_data.shape[-2:], self.k.shape[-2:]
        top, left = (h - 1) // 2, (w_ - 1) // 2
        extended = nnf.pad(of_data, (left, left, top, top), mode="replicate")
        for row in range(top):
            extended[:, :, [row, -1 - row]] *= (row + 1) / (top + 1)
        for column in range(left):
            extended[..., [column, -1 - column]] *= (column + 1) / (left + 1)
        lengths = [height + 2 * (h - 1) + 64, width + 2 * (w_ - 1) + 64]
        size = [4 * next_fast_len(-(-length // 4)) for length in lengths]

        def powers(bank: Tensor, weights: Tensor) -> Tensor:
            T = torch.fft.fft2(bank, s=size)
            return torch.einsum("i,ichw,idhw->hwcd", weights.to(T.dtype), T, T.conj())

        centred = nnf.pad(self.k, (0, size[1] - w_, 0, size[0] - h)).roll((-top, -left), (-2, -1))
        K_adjoint = torch.fft.fft2(centred)[..., None, None]
        system = w[:, None, None, None, None] * powers(self.weight_F, solver.log_prior[self.t].exp())
        system = system + K_adjoint.abs().square() * powers(self.weight_G, solver.log_data[self.t].exp())
        system = system + solver.damping * torch.eye(of_data.shape[1], device=of_data.device)
        padded = nnf.pad(of_prior, (left, left, top, top))
        a, b = (torch.fft.fft2(r, s=size).permute(0, 2, 3, 1)[..., None] for r in (padded, extended))
        spectrum = torch.linalg.solve(system, a + K_adjoint * b)[..., 0]
        step = torch.fft.ifft2(spectrum.permute(0, 3, 1, 2)).real
        return step[..., top : top + height, left : left + width]


def unet(net: nn.Module, x: Tensor) -> Tensor:
    """CGNet's U-Net, with concatenated maps."""

    def up(block: nn.Module, low: Tensor, skip: Tensor) -> Tensor:
        return block.m(torch.cat([block.u(low, output_size=skip.shape[-2:]), skip], 1))

    x1 = net.d1.d(x)
    x2 = net.d2.d(x1)
    x3 = net.d3.d(x2)
    return up(net.u0, up(net.u1, up(net.u2, up(net.u3, net.bot(x3), x3), x2), x1), x)


def denoised(net: nn.Module, x: Tensor, sigma: Tensor) -> Tensor:
    """DSDNetTiny's denoising U-Net at half resolution."""
    height, width = x.shape[-2:]

    def blocks(stack: nn.Sequential, a: Tensor) -> Tensor:
        for block in stack:
            a = a + block.second(torch.relu(block.first(a)))
        return a

    padded = nnf.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    half = nn.PixelUnshuffle(2)(padded)
    first = net.head(torch.cat([half, sigma[:, None, None, None] * torch.ones_like(half[:, :1])], 1))
    one = blocks(net.down[0], first)
    two = blocks(net.down[1], net.halvings[0](one))
    three = blocks(net.bottom, net.halvings[1](two))
    two = blocks(net.up[1], net.doublings[1](three) + two)
    one = blocks(net.up[0], net.doublings[0](two) + one)
    return x - nn.PixelShuffle(2)(net.tail(one + first))[..., :height, :width]
