"""The U-Net of the released CGNet: four halvings of the resolution, plain convolutions."""

import torch.nn.functional as nnf
from torch import Tensor, nn

from codes.models.paper.formats import to_autocast_dtype


def _convolutions(in_nc: int, out_nc: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_nc, out_nc, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_nc, out_nc, 3, padding=1),
        nn.ReLU(inplace=True),
    ]


class Down(nn.Module):
    """Halve the resolution by max-pooling, then two convolutions."""

    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        self.d = nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1), *_convolutions(in_nc, out_nc))

    def forward(self, x: Tensor) -> Tensor:
        return self.d(x)


class Up(nn.Module):
    """Transposed convolution to the skip's size, concatenation, two convolutions.

    The first convolution is applied to each half and the results are summed, so that no concatenated map is needed.
    """

    def __init__(self, in_nc: int, out_nc: int):
        super().__init__()
        self.u = nn.ConvTranspose2d(in_nc, out_nc, 3, stride=2, padding=1)
        self.m = nn.Sequential(*_convolutions(2 * out_nc, out_nc))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        first, *others = self.m
        up_weight, skip_weight = first.weight.chunk(2, 1)
        x = nnf.conv2d(self.u(x, output_size=skip.shape[-2:]), up_weight, first.bias, padding=1)
        x += nnf.conv2d(skip, skip_weight, padding=1)
        for layer in others:
            x = layer(x)
        return x


class UNet(nn.Module):
    """(B, t, H, W) -> (B, t, H, W). The output is not negative, because of the last ReLU of the release."""

    def __init__(self, channels: int):
        super().__init__()
        t = channels
        self.d1, self.d2, self.d3 = Down(t, 2 * t), Down(2 * t, 4 * t), Down(4 * t, 8 * t)
        self.bot = Down(8 * t, 16 * t).d
        self.u3, self.u2 = Up(16 * t, 8 * t), Up(8 * t, 4 * t)
        self.u1, self.u0 = Up(4 * t, 2 * t), Up(2 * t, t)

    def forward(self, x: Tensor) -> Tensor:
        x = to_autocast_dtype(x)
        x1 = self.d1(x)
        x2 = self.d2(x1)
        x3 = self.d3(x2)
        up = self.u3(self.bot(x3), x3)
        up = self.u2(up, x2)
        up = self.u1(up, x1)
        return self.u0(up, x)

    def start_constant(self, value: float) -> None:
        """Set He's weights without biases, and the constant output `value` before training.

        With the weights that torch starts with, the last ReLU tends to switch itself off in training.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        last = self.u0.m[2]
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, value)
