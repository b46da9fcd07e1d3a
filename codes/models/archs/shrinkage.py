"""Shrinkage functions: the proximal operators of the regularisers, learned as Maxout layers."""

from torch import Tensor, nn

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
        a = self.dropout(a)
        return self._maximum(self.conv1(a)) - self._maximum(self.conv2(a))

    def _maximum(self, candidates: Tensor) -> Tensor:
        return candidates.unflatten(1, (-1, self.max_nc)).amax(2)
