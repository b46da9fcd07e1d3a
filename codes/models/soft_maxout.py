"""A Maxout layer with other weights at the start of training than torch's."""

import torch
from torch import Tensor, nn

from codes.models.paper.shrinkage import SHRINKAGES, Maxout


@SHRINKAGES.register("maxout_soft")
class SoftMaxout(Maxout):
    """A Maxout that starts as soft thresholding and works on magnified values.

    max(a - threshold, 0, ...) - max(-a - threshold, 0, ...) is the proximal operator of the L1 norm. The biases that
    torch starts with, up to 1/3, are far larger than the filter responses. Raises ValueError if max_nc is below
    `least_nc`.
    """

    # Values are multiplied by this number, which makes them about as large as the weights.
    gain = 20.0
    # Threshold of the magnified values.
    threshold = 0.1
    # Standard deviation of the random part of the weights.
    weight_std = 0.02
    # Soft thresholding needs two affine functions in each maximum.
    least_nc = 2

    def __init__(self, channels: int, max_nc: int = 4, dropout_rate: float = 0.0):
        if max_nc < self.least_nc:
            raise ValueError(f"max_nc {max_nc}: {type(self).__name__} needs at least {self.least_nc}")
        super().__init__(channels, max_nc, dropout_rate)
        for sign, conv in ((1.0, self.conv1), (-1.0, self.conv2)):
            nn.init.normal_(conv.weight, std=self.weight_std)
            nn.init.zeros_(conv.bias)
            with torch.no_grad():
                conv.weight[::max_nc, 0, 1, 1] += sign
                conv.bias[::max_nc] -= self.threshold

    def forward(self, a: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        return super().forward(self.gain * a) / self.gain
