"""Learned filter banks, with their adjoint."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


class Filters(nn.Conv2d):
    """A bank of 7x7 filters, F_i or G_j of the paper: no bias, zero padding.

    In float32 under autocast too: the difference G(y) - G(Hx) is as small as the noise, which
    half precision would lose.
    """

    def __init__(self, in_nc: int, filters: int):
        super().__init__(in_nc, filters, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Fx: (B, C, H, W) -> (B, N, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))

    def adjoint(self, a: Tensor) -> Tensor:
        """F'a: the transposed convolution with the same weights. (B, N, H, W) -> (B, C, H, W)."""
        with torch.autocast(a.device.type, enabled=False):
            return nnf.conv_transpose2d(a.to(self.weight.dtype), self.weight, padding=3)
