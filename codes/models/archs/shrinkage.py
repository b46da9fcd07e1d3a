"""Shrinkage functions: the proximal operators of the regularisers, learned as Maxout layers."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.utils.registry import Registry

SHRINKAGES: Registry[type[nn.Module]] = Registry("shrinkage")

DENSE_UP_TO = 16
"""Up to this many channels, training spreads the grouped convolution's weights over a dense one.

A dense convolution of so few channels costs less than the backward pass of a grouped one.
"""


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
        a = self.dropout(a)
        if torch.is_grad_enabled() and a.shape[1] <= DENSE_UP_TO:
            return _DifferenceOfMaxima.apply(self._candidates(a), self.max_nc)
        return self._maximum(self.conv1(a)) - self._maximum(self.conv2(a))

    def _maximum(self, candidates: Tensor) -> Tensor:
        return candidates.unflatten(1, (-1, self.max_nc)).amax(2)

    def _candidates(self, a: Tensor) -> Tensor:
        """Both convolutions as one dense one: (B, max_nc * 2 * channels, H, W), the candidate's number first."""
        channels = a.shape[1]
        weight, bias = (
            torch.stack([one.unflatten(0, (channels, -1)), other.unflatten(0, (channels, -1))]).movedim(2, 0)
            for one, other in ((self.conv1.weight, self.conv2.weight), (self.conv1.bias, self.conv2.bias))
        )
        own = torch.eye(channels, device=a.device, dtype=weight.dtype)[:, :, None, None]
        dense = (weight * own).flatten(0, 2).contiguous(memory_format=torch.channels_last)
        return nnf.conv2d(a, dense, bias.flatten(), padding=1)


@SHRINKAGES.register("maxout_soft")
class SoftMaxout(Maxout):
    """A Maxout that starts as soft thresholding and works on magnified values.

    max(a - threshold, 0, ...) - max(-a - threshold, 0, ...), the proximal operator of the L1 norm.
    Torch's own start has biases of up to 1/3, far beyond the filter responses of a residual.
    """

    gain = 20.0
    """of the values, as large then as the weights; see CGNetZero"""
    threshold = 0.1
    """after magnification"""

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        super().__init__(channels, max_nc, dropout_rate)
        for sign, conv in ((1.0, self.conv1), (-1.0, self.conv2)):
            nn.init.normal_(conv.weight, std=0.02)
            nn.init.zeros_(conv.bias)
            with torch.no_grad():
                conv.weight[::max_nc, 0, 1, 1] += sign
                conv.bias[::max_nc] -= self.threshold

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        return super().forward(self.gain * a) / self.gain


class _DifferenceOfMaxima(torch.autograd.Function):
    """max_k candidates[k, first] - max_k candidates[k, second], keeping for backward which k it was.

    amax itself rebuilds a mask over all candidates in its backward pass and divides ties; here a
    tie goes to the first. The masks have the candidates' type: products with bool are slow on a CPU.
    """

    @staticmethod
    def forward(ctx, candidates: Tensor, max_nc: int) -> Tensor:
        largest, *others = candidates.chunk(max_nc, 1)
        larger = []
        for candidate in others:
            larger.append(candidate.clone().gt_(largest))
            largest = torch.maximum(largest, candidate)
        ctx.save_for_backward(*larger)
        first, second = largest.chunk(2, 1)
        return first - second

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        rest = torch.cat([gradient, -gradient], 1)
        parts = []
        for larger in reversed(ctx.saved_tensors):
            parts.append(rest * larger)
            rest = rest - parts[-1]
        return torch.cat([rest, *reversed(parts)], 1), None
