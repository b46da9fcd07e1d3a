"""CGNet with a learned step along the preconditioned residual before it."""

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from codes.models.archs.cgnet import SOLVERS, System, adjoint
from codes.models.archs.cgnet_zero import CGNetZero
from codes.models.archs.initialisation import gradient_power
from codes.models.archs.layout import laid_out_as


@SOLVERS.register("cgnet_fft")
class CGNetFFT(CGNetZero):
    """CGNetZero applied to what a step x + alpha P r leaves of the system's residual r.

    P = 1 / (|K|^2 + lambda (|Dx|^2 + |Dy|^2) + 0.001) in the Fourier domain, close to the inverse
    of the system where its filters are near to a delta; alpha (from 0) and lambda are learned for
    each stage.
    """

    floor = 1e-3
    pace = 10.0
    """alpha is this times its parameter, for it has farther to go than a convolution's weights"""

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.alpha = nn.ParameterList(torch.zeros(()) for _ in range(n_iter))
        self.log_lambda = nn.ParameterList(torch.tensor(-4.0) for _ in range(n_iter))

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        r = s.residual(m)
        step = self.pace * self.alpha[t] * self.precondition(t, s.H.kernel, r)
        r = r - adjoint(s, m, m.prior * s.F(step), m.data * s.G(s.H(step)))
        return s.x + step + self.correction(t, s, m, r)

    def precondition(self, t: int, kernel: Tensor, r: Tensor) -> Tensor:
        """P r (B, C, H, W); beyond its border r is taken to be zero."""
        size = tuple(next_fast_len(s + k - 1, real=True) for s, k in zip(r.shape[-2:], kernel.shape[-2:], strict=True))
        power = torch.fft.rfft2(kernel, s=size).abs().square()
        smooth = self.log_lambda[t].exp() * gradient_power(size, r.device, r.dtype)
        preconditioned = torch.fft.irfft2(torch.fft.rfft2(r, s=size) / (power + smooth + self.floor), s=size)
        return laid_out_as(r, preconditioned[..., : r.shape[-2], : r.shape[-1]])
