"""Shrinkage functions: the proximal operators of the regularisers, learned as Maxout layers."""

from functools import reduce

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.formats import to_autocast_dtype
from codes.utils.registry import Registry

SHRINKAGES: Registry[type[nn.Module]] = Registry("shrinkage")


@SHRINKAGES.register("maxout")
class Maxout(nn.Module):
    """A difference of two maxima of affine functions, for each channel on its own.

    Two grouped 3x3 convolutions give `max_nc` affine functions per channel each (outputs c*max_nc ...
    (c+1)*max_nc - 1 belong to channel c). The result is max(first) - max(second), which can form any continuous
    piecewise linear function, convex or not. dropout_rate: rate of the Dropout2d before the convolutions.
    """

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__()
        self.max_nc = max_nc
        self.dropout = nn.Dropout2d(dropout_rate)
        self.conv1 = nn.Conv2d(channels, channels * max_nc, 3, padding=1, groups=channels)
        self.conv2 = nn.Conv2d(channels, channels * max_nc, 3, padding=1, groups=channels)

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        a = to_autocast_dtype(self.dropout(a))
        return self._maximum(a, self.conv1) - self._maximum(a, self.conv2)

    def _maximum(self, a: Tensor, conv: nn.Conv2d) -> Tensor:
        """The maximum of each channel's affine functions (B, channels, H, W).

        They are computed one after the other: few maps are in memory at once, and a depthwise convolution is several
        times faster than a grouped one with several outputs per group.
        """
        candidates = (
            nnf.conv2d(a, conv.weight[k :: self.max_nc], conv.bias[k :: self.max_nc], padding=1, groups=a.shape[1])
            for k in range(self.max_nc)
        )
        if torch.is_grad_enabled():
            return reduce(_Maximum.apply, candidates)
        return reduce(lambda largest, candidate: torch.maximum(largest, candidate, out=largest), candidates)


class _Maximum(torch.autograd.Function):
    """torch.maximum that remembers, for its gradient, which argument was the larger one; a tie goes to the first.

    The gradient of torch.maximum compares twice again and divides ties. On a CPU the mask has the type of the values,
    because products with bool are slow there.
    """

    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(second.clone().gt_(first) if second.device.type == "cpu" else second > first)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (second_is_larger,) = ctx.saved_tensors
        second_gradient = gradient * second_is_larger
        return gradient - second_gradient, second_gradient
