"""Learned filter banks, with their adjoint."""

import torch.nn.functional as nnf
from torch import Tensor, nn


class Filters(nn.Conv2d):
    """A bank of 7x7 filters, F_i or G_j of the paper: no bias, zero padding."""

    def __init__(self, in_nc: int, filters: int):
        super().__init__(in_nc, filters, 7, padding=3, bias=False)

    def adjoint(self, a: Tensor) -> Tensor:
        """F'a: the transposed convolution with the same weights. (B, N, H, W) -> (B, C, H, W)."""
        return nnf.conv_transpose2d(a, self.weight, padding=3)
