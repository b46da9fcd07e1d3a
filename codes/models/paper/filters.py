"""Learned filter banks, with their adjoint."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

# Height and width of the filters, and the pixels on each side of the centre.
KERNEL_SIZE = 7
PADDING = KERNEL_SIZE // 2


class Filters(nn.Conv2d):
    """A bank of 7x7 filters, F_i or G_j of the paper: no bias, zero padding.

    It stays in float32 under autocast: the difference G(y) - G(Hx) is as small as the noise, and half precision would
    lose it.
    """

    def __init__(self, in_nc: int, filters: int):
        super().__init__(in_nc, filters, KERNEL_SIZE, padding=PADDING, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Fx: (B, C, H, W) -> (B, N, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return nnf.conv2d(x.to(self.weight.dtype), self.weight, padding=PADDING)

    def adjoint(self, a: Tensor) -> Tensor:
        """F'a: the transposed convolution with the same weights. (B, N, H, W) -> (B, C, H, W)."""
        with torch.autocast(a.device.type, enabled=False):
            return nnf.conv_transpose2d(a.to(self.weight.dtype), self.weight, padding=PADDING)
