"""A denoiser with the noise level as an input: a residual U-Net at half the image's resolution.

It follows FFDNet (Zhang, Zuo, Zhang, TIP 2018: half resolution, noise level as an input) and DRUNet (Zhang et al.,
TPAMI 2022: residual blocks without biases). First it is trained on its own, then it becomes the prior of the x-step in
solver.py; this is much cheaper than training it there from the start.
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as nnf
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from codes.models.network import Network
from codes.models.noise import estimate_noise
from codes.models.paper.formats import match_memory_format, to_autocast_dtype
from codes.models.registry import NetworkOptions, register_network

# Number of channels at 1/2, 1/4 and 1/8 of the resolution.
WIDTHS = (48, 96, 192)
# Number of residual blocks at each resolution, on the way down and again on the way up.
BLOCKS = 2
# Squares of this many pixels per side become the channels of one pixel.
SHUFFLE = 2


class Block(nn.Module):
    """Residual block: x + conv(relu(conv(x))), without biases."""

    # Factor for He's weights of the second convolution; a deep stack then starts near the identity.
    init_scale = 0.3

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        with torch.no_grad():
            self.second.weight.mul_(self.init_scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nnf.relu(self.first(x), inplace=True))


def blocks(channels: int, count: int) -> nn.Sequential:
    """(B, channels, H, W) -> (B, channels, H, W)."""
    return nn.Sequential(*(Block(channels) for _ in range(count)))


class DenoisingUNet(nn.Module):
    """D(x, sigma): x without its white noise of standard deviation sigma.

    Since there are no biases, D(a x, a sigma) = a D(x, sigma) for a > 0: what the network learns at one noise level
    helps at the others.
    """

    def __init__(self, in_nc: int = 3):
        super().__init__()
        steps = list(pairwise(WIDTHS))
        self.head = nn.Conv2d(SHUFFLE**2 * in_nc + 1, WIDTHS[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(blocks(width, BLOCKS) for width in WIDTHS[:-1])
        self.halvings = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in steps)
        self.bottom = blocks(WIDTHS[-1], BLOCKS)
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in steps)
        self.up = nn.ModuleList(blocks(width, BLOCKS) for width in WIDTHS[:-1])
        self.tail = nn.Conv2d(WIDTHS[0], SHUFFLE**2 * in_nc, 3, padding=1, bias=False)
        self.multiple = SHUFFLE * 2 ** len(steps)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) in the units of x -> (B, C, H, W)."""
        height, width = x.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = nnf.pad(x.contiguous(), padding, mode="replicate") if any(padding) else x
        shuffled = nnf.pixel_unshuffle(padded, SHUFFLE)
        level = sigma.to(x.dtype)[:, None, None, None].expand(-1, 1, *shuffled.shape[-2:])
        with torch.autocast(x.device.type, enabled=False):  # Half precision would add noise of its own.
            first = self.head(match_memory_format(torch.cat([shuffled, level], 1), x))
        first = to_autocast_dtype(first)
        features, skips = first, []
        for down, halve in zip(self.down, self.halvings, strict=True):
            skips.append(down(features))
            features = halve(skips[-1])
        features = self.bottom(features)
        for double, up in reversed(list(zip(self.doublings, self.up, strict=True))):
            features = up(double(features) + skips.pop())
        noise = nnf.pixel_shuffle(self.tail(features + first), SHUFFLE)[..., :height, :width]
        return x - match_memory_format(noise.to(x.dtype), x)


class DenoiserOptions(NetworkOptions):
    """Keys of `network_G` for a denoiser that is trained on its own."""

    which_model_G: Literal["Denoiser"] = "Denoiser"
    in_nc: PositiveInt = Field(3, description="Channels of the image.")
    n_iter: Literal[1] = Field(1, alias="nb", description="Number of stages; a denoiser has one.")


@register_network("Denoiser", DenoiserOptions)
class Denoiser(Network):
    """DenoisingUNet as a Network, for training with kernels of one pixel; it does not use the kernel."""

    takes_sigma = uses_true_sigma = gives_stages = True
    deblurs = False

    def __init__(self, in_nc: int = 3, n_iter: int = 1):
        super().__init__()
        self.in_nc, self.n_iter = in_nc, n_iter
        self.unet = DenoisingUNet(in_nc)

    def forward(
        self, blurry: Tensor, kernel: Tensor, stages: bool = False, sigma: Tensor | None = None
    ) -> Tensor | list[Tensor]:
        """The images (B, C, H, W), values in [0, 1], without their noise, not clamped; with `stages` in a list.

        kernel: not used. sigma: (B,), standard deviation of the noise, or None for an estimate.
        """
        restored = self.unet(blurry, estimate_noise(blurry) if sigma is None else sigma)
        return [restored] if stages else restored
