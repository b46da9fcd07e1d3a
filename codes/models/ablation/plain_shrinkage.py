"""Shrinkage functions that say less than a Maxout, for comparison with it."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.shrinkage import SHRINKAGES, SoftMaxout


@SHRINKAGES.register("relu")
class DifferenceOfReLUs(SoftMaxout):
    """relu(first) - relu(second): each maximum is over one affine function and zero.

    Starts as soft thresholding, as SoftMaxout does, on values magnified alike.
    """

    least_nc = 1

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__(channels, max_nc=1, dropout_rate=dropout_rate)

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        a = self.dropout(self.gain * a)
        return (nnf.relu(self.conv1(a)) - nnf.relu(self.conv2(a))) / self.gain


@SHRINKAGES.register("soft_threshold")
class SoftThreshold(nn.Module):
    """sign(a) max(|a| - threshold, 0), the proximal operator of the L1 norm; one learned threshold a channel."""

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout2d(dropout_rate)
        self.threshold = nn.Parameter(torch.full((channels, 1, 1), SoftMaxout.threshold))
        """of values magnified by SoftMaxout's gain; its sign does not matter"""

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        a = self.dropout(a)
        return a.sign() * nnf.relu(a.abs() - self.threshold.abs() / SoftMaxout.gain)


@SHRINKAGES.register("zero")
class Zero(nn.Module):
    """0, whatever the value. As `shrinkage_z` it leaves nothing to the data term but y = Hx."""

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__()

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        return torch.zeros_like(a)
