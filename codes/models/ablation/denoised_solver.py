"""An x-step solver followed by a denoising network: CGNet's U-Net, on the solution in place of the residual."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from codes.models.paper.cgnet import System
from codes.models.paper.unet import UNet


class Denoised(nn.Module):
    """x + F'a + G'b, where x is the solution by `solver` and a, b what the U-Net makes of Fx and Gx.

    Starts as the solver alone.
    """

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int, solver: Callable[..., nn.Module]):
        super().__init__()
        self.solver = solver(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.takes_mask, self.takes_sigma = self.solver.takes_mask, self.solver.takes_sigma
        self.unet = nn.ModuleList(UNet(nf_p + nf_d) for _ in range(n_iter))
        for unet in self.unet:
            unet.start_at_zero()

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        x = self.solver(t, s)
        Fx, Gx = s.F(x), s.G(x)
        a, b = self.unet[t](torch.cat([Fx, Gx], 1)).split([Fx.shape[1], Gx.shape[1]], 1)
        return x + s.F.adjoint(a) + s.G.adjoint(b)
