"""Shrinkage functions: the proximal operators of the regularisers, learned as Maxout layers."""

from functools import reduce

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.layout import autocasted
from codes.utils.registry import Registry

SHRINKAGES: Registry[type[nn.Module]] = Registry("shrinkage")


@SHRINKAGES.register("maxout")
class Maxout(nn.Module):
    """A difference of two maxima of affine functions, for each channel on its own.

    Two grouped 3x3 convolutions give `max_nc` candidates a channel each (channel c owns
    outputs c*max_nc ... (c+1)*max_nc - 1); the result is max(first) - max(second), which can
    form any continuous piecewise linear function, convex or not.
    """

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__()
        self.max_nc = max_nc
        self.dropout = nn.Dropout2d(dropout_rate)
        self.conv1 = nn.Conv2d(channels, channels * max_nc, 3, padding=1, groups=channels)
        self.conv2 = nn.Conv2d(channels, channels * max_nc, 3, padding=1, groups=channels)

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        a = autocasted(self.dropout(a))
        return self._maximum(a, self.conv1) - self._maximum(a, self.conv2)

    def _maximum(self, a: Tensor, conv: nn.Conv2d) -> Tensor:
        """The largest candidate, one after the other: few maps are alive, and a depthwise
        convolution is several times faster than a grouped one of several outputs a group."""
        candidates = (
            nnf.conv2d(a, conv.weight[k :: self.max_nc], conv.bias[k :: self.max_nc], padding=1, groups=a.shape[1])
            for k in range(self.max_nc)
        )
        if torch.is_grad_enabled():
            return reduce(_Maximum.apply, candidates)
        return reduce(lambda largest, candidate: torch.maximum(largest, candidate, out=largest), candidates)


@SHRINKAGES.register("maxout_soft")
class SoftMaxout(Maxout):
    """A Maxout that starts as soft thresholding and works on magnified values.

    max(a - threshold, 0, ...) - max(-a - threshold, 0, ...), the proximal operator of the L1 norm.
    Torch's own start has biases of up to 1/3, far beyond the filter responses of a residual.
    Raises ValueError for a max_nc of 1.
    """

    gain = 20.0
    """of the values, as large then as the weights; see CGNetZero"""
    threshold = 0.1
    """after magnification"""
    spread = 0.02
    """standard deviation of what the weights have beside"""
    least_nc = 2
    """candidates that soft thresholding takes"""

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        if max_nc < self.least_nc:
            raise ValueError(f"max_nc {max_nc}: this shrinkage begins with {self.least_nc} candidates at least")
        super().__init__(channels, max_nc, dropout_rate)
        for sign, conv in ((1.0, self.conv1), (-1.0, self.conv2)):
            nn.init.normal_(conv.weight, std=self.spread)
            nn.init.zeros_(conv.bias)
            with torch.no_grad():
                conv.weight[::max_nc, 0, 1, 1] += sign
                conv.bias[::max_nc] -= self.threshold

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        return super().forward(self.gain * a) / self.gain


@SHRINKAGES.register("maxout_identity")
class IdentityMaxout(SoftMaxout):
    """A Maxout that starts close to the identity: it shrinks nothing yet."""

    threshold = 0.0
    spread = 0.001


@SHRINKAGES.register("maxout_outliers")
class OutlierMaxout(SoftMaxout):
    """A Maxout that starts by letting through only what no noise explains: as z it begins at zero."""

    threshold = 6.0
    """0.3 in the image's units"""
    spread = 0.001


class _Maximum(torch.autograd.Function):
    """torch.maximum, keeping for backward which one it was; a tie goes to the first.

    torch's own compares again, twice, and shares ties out. The mask has the values' type: products
    with bool are slow on a CPU.
    """

    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(second.clone().gt_(first))
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (second_is_larger,) = ctx.saved_tensors
        of_second = gradient * second_is_larger
        return gradient - of_second, of_second
