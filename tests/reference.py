"""A literal DSDNet: every equation of the paper's stage as it stands, nothing shared, nothing fast.

Direct grouped convolutions for the blur, MaxPool3d for Maxout, every term computed anew. It
borrows the weights of a network under test and is what that network has to equal.
"""

import torch
import torch.nn.functional as nnf
from scipy.fft import next_fast_len
from torch import Tensor, nn

from codes.models.archs.cgnet_fft import CGNetFFT
from codes.models.archs.cgnet_zero import CGNetZero
from codes.models.ablation.denoised_solver import Denoised
from codes.models.paper.dsdnet import DSDNet
from codes.models.tiny.newton_prior import NewtonPrior
from codes.models.tiny.noise import estimate_noise
from codes.models.paper.shrinkage import SoftMaxout


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


class LiteralDSDNet(nn.Module):
    """The stages of `net`, written out: a DSDNet of the paper's parts, or with those that trained presets have."""

    def __init__(self, net: DSDNet):
        super().__init__()
        self.net = net

    def maxout(self, shrink: nn.Module, a: Tensor) -> Tensor:
        batch, channels, *size = a.shape
        maximum = nn.MaxPool3d((shrink.max_nc, 1, 1))
        gain = shrink.gain if isinstance(shrink, SoftMaxout) else 1.0
        first, second = maximum(shrink.conv1(gain * a)), maximum(shrink.conv2(gain * a))
        return (first - second).view(batch, channels, *size) / gain

    def unet(self, net: nn.Module, x: Tensor) -> Tensor:
        def applied(layers: nn.Sequential, x: Tensor) -> Tensor:
            for layer in layers:
                x = nn.Conv2d.forward(layer, x) if isinstance(layer, nn.Conv2d) else layer(x)
            return x

        def up(block: nn.Module, low: Tensor, skip: Tensor) -> Tensor:
            return applied(block.m, torch.cat([block.u(low, output_size=skip.shape[-2:]), skip], 1))

        x1 = applied(net.d1.d, x)
        x2 = applied(net.d2.d, x1)
        x3 = applied(net.d3.d, x2)
        return up(net.u0, up(net.u1, up(net.u2, up(net.u3, applied(net.bot, x3), x3), x2), x1), x)

    def newton(self, r, m_n, m_p, m_d, F, G, kernel: Tensor, pull: float) -> Tensor:
        """(m_n sum_i p_i T_i* T_i' + d_j |K|^2 S_j* S_j' + pull)^-1 r at every frequency of the zero-padded image."""
        size = [next_fast_len(a + b - 1, real=True) for a, b in zip(r.shape[-2:], kernel.shape[-2:], strict=True)]

        def powers(bank: Tensor, squares: Tensor) -> Tensor:
            T = torch.fft.fft2(bank, s=size)  # where a filter is centred cancels out
            return torch.einsum("bi,ichw,idhw->bhwcd", squares.mean((2, 3)).to(T.dtype), T, T.conj())

        K = torch.fft.fft2(kernel, s=size).abs().square()[..., None, None]
        system = m_n.mean((1, 2, 3))[:, None, None, None, None] * powers(F, m_p**2) + K * powers(G, m_d**2)
        system = system + pull * torch.eye(r.shape[1])
        spectrum = torch.linalg.solve(system, torch.fft.fft2(r, s=size).permute(0, 2, 3, 1)[..., None])[..., 0]
        return torch.fft.ifft2(spectrum.permute(0, 3, 1, 2)).real[..., : r.shape[2], : r.shape[3]]

    def newton_prior(self, t: int, F, G, kernel: Tensor, w: Tensor, of_prior: Tensor, of_data: Tensor) -> Tensor:
        """(w sum_i p_i T_i* T_i' + d_j |K|^2 S_j* S_j' + pull)^-1 (of_prior + K* of_data), the kernel's reach around
        the image included: of_prior is zero there, of_data fades from the border's values."""
        solver, (height, width), (h, w_) = self.net.solver, of_data.shape[-2:], kernel.shape[-2:]
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

        centred = nnf.pad(kernel, (0, size[1] - w_, 0, size[0] - h)).roll((-top, -left), (-2, -1))
        K_adjoint = torch.fft.fft2(centred)[..., None, None]
        system = w[:, None, None, None, None] * powers(F, solver.log_prior[t].exp())
        system = system + K_adjoint.abs().square() * powers(G, solver.log_data[t].exp())
        system = system + solver.pull * torch.eye(of_data.shape[1])
        padded = nnf.pad(of_prior, (left, left, top, top))
        a, b = (torch.fft.fft2(r, s=size).permute(0, 2, 3, 1)[..., None] for r in (padded, extended))
        spectrum = torch.linalg.solve(system, a + K_adjoint * b)[..., 0]
        step = torch.fft.ifft2(spectrum.permute(0, 3, 1, 2)).real
        return step[..., top : top + height, left : left + width]

    def denoised(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The denoising U-Net at half resolution."""
        net, (height, width) = self.net.solver.denoiser, x.shape[-2:]

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

    def forward(self, blurry: Tensor, kernel: Tensor, mask: Tensor | None = None) -> Tensor:
        net, solver = self.net, self.net.solver
        weights = solver.solver if isinstance(solver, Denoised) else solver
        m = torch.ones_like(blurry) if mask is None else mask.expand_as(blurry)
        y, k, border = m * blurry, kernel, net.padding_mode
        x = net.initialise(y, k)
        u_i = u_j = 0
        for t in range(net.n_iter):
            if net.dual_shares is not None:
                u_i, u_j = net.dual_shares[t, 0] * u_i, net.dual_shares[t, 1] * u_j
            weight_F, weight_G = net.F[t].weight, net.G[t].weight

            def F(x, weight=weight_F):
                return nnf.conv2d(x, weight, padding=3)

            def G(x, weight=weight_G):
                return nnf.conv2d(x, weight, padding=3)

            def F_adjoint(a, weight=weight_F):
                return nnf.conv_transpose2d(a, weight, padding=3)

            def G_adjoint(b, weight=weight_G):
                return nnf.conv_transpose2d(b, weight, padding=3)

            m_p, m_d = weights.m_p[t](torch.cat([x, m], 1)), weights.m_d[t](torch.cat([x, m], 1))
            average = nnf.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
            m_n = weights.m_n[t].mlp(torch.cat([x, average], 1))

            def Ad(a, b, F_adjoint=F_adjoint, G_adjoint=G_adjoint, m_p=m_p, m_d=m_d, m_n=m_n):
                return m_n * F_adjoint(m_p * a) + blur_adjoint(G_adjoint(m_d * b), k)

            v = self.maxout(net.shrink_v[t], F(x) + u_i)
            z = self.maxout(net.shrink_z[t], G(y - m * blur(x, k, border)) + u_j)

            def A(x, F=F, G=G, F_adjoint=F_adjoint, G_adjoint=G_adjoint, m_p=m_p, m_d=m_d, m_n=m_n):
                prior = m_n * F_adjoint(m_p**2 * F(x))
                return prior + blur_adjoint(G_adjoint(m_d**2 * G(blur(x, k, border))), k)

            if isinstance(solver, NewtonPrior):
                level = (estimate_noise(blurry, mask).clamp(min=0.002) / 0.02).log()
                w = (solver.of_prior[t, 0] + solver.of_prior[t, 1] * level).exp()
                of_prior = w[:, None, None, None] * m_n * F_adjoint(m_p**2 * (v - u_i - F(x)))
                of_data = m * G_adjoint(m_d**2 * (G(y) - z + u_j - G(m * blur(x, k, border))))
                solved = x + self.newton_prior(t, weight_F, weight_G, k, w, of_prior, of_data)
                new_x = self.denoised(solved, (solver.of_denoiser[t, 0] + solver.of_denoiser[t, 1] * level).exp())
            elif isinstance(solver, Denoised):
                r = m_n * F_adjoint(m_p**2 * (v - u_i - F(x)))
                r = r + blur_adjoint(m * G_adjoint(m_d**2 * (G(y) - z + u_j - G(m * blur(x, k, border)))), k)
                solved = x + self.newton(r, m_n, m_p, m_d, weight_F, weight_G, k, weights.pull)
                responses = torch.cat([F(solved), G(solved)], 1)
                a, b = self.unet(solver.unet[t], responses).split([m_p.shape[1], m_d.shape[1]], 1)
                new_x = solved + F_adjoint(a) + G_adjoint(b)
            else:
                r = Ad(v - u_i, G(y) - z + u_j) - A(x)
                step = torch.zeros_like(x)
                if isinstance(solver, CGNetFFT):
                    step = solver.pace * solver.alpha[t] * solver.precondition(t, k[:, None], r)
                    r = r - A(step)
                gain = solver.gain if isinstance(solver, CGNetZero) else 1.0
                residual = torch.cat([m_p * F(gain * r), m_d * G(blur(gain * r, k, border))], 1)
                a, b = self.unet(solver.unet[t], residual).split([m_p.shape[1], m_d.shape[1]], 1)
                new_x = x + step + Ad(a, b) / gain
            u_i = u_i + F(x) - v
            u_j = u_j + G(y - m * blur(x, k, border)) - z
            x = new_x
        return x
