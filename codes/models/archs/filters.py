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

    def start_as_identity(self) -> None:
        """Make the first filters those that give the image itself, one a channel, the others random of mean 0.

        What comes after the bank then sees the image's values, not only mixtures of 7x7 of them.
        """
        channels = min(self.in_channels, self.out_channels)
        with torch.no_grad():
            self.weight.sub_(self.weight.mean((-2, -1), keepdim=True))
            self.weight[:channels] = 0.0
            for channel in range(channels):
                self.weight[channel, channel, 3, 3] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Fx: (B, C, H, W) -> (B, N, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))

    def adjoint(self, a: Tensor) -> Tensor:
        """F'a: the transposed convolution with the same weights. (B, N, H, W) -> (B, C, H, W)."""
        with torch.autocast(a.device.type, enabled=False):
            return nnf.conv_transpose2d(a.to(self.weight.dtype), self.weight, padding=3)
