"""Learned filter banks, with their adjoint."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

SIDE = 7
MARGIN = SIDE // 2

PACKED = 4
"""Pixels side by side that the adjoint takes as channels of one, on a CPU.

Its few results a pixel (3 of RGB) would fill a fraction of a vector register; four pixels' fill most.
"""


class Filters(nn.Conv2d):
    """A bank of 7x7 filters, F_i or G_j of the paper: no bias, zero padding.

    In float32 under autocast too: the difference G(y) - G(Hx) is as small as the noise, which
    half precision would lose.
    """

    def __init__(self, in_nc: int, filters: int):
        super().__init__(in_nc, filters, SIDE, padding=MARGIN, bias=False)

    def start_as_identity(self) -> None:
        """Make the first filters those that give the image itself, one a channel, the others random of mean 0.

        What comes after the bank then sees the image's values, not only mixtures of 7x7 of them.
        """
        channels = min(self.in_channels, self.out_channels)
        with torch.no_grad():
            self.weight.sub_(self.weight.mean((-2, -1), keepdim=True))
            self.weight[:channels] = 0.0
            for channel in range(channels):
                self.weight[channel, channel, MARGIN, MARGIN] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Fx: (B, C, H, W) -> (B, N, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return _Responses.apply(x.to(self.weight.dtype), self.weight)

    def adjoint(self, a: Tensor) -> Tensor:
        """F'a: the transposed convolution with the same weights. (B, N, H, W) -> (B, C, H, W)."""
        with torch.autocast(a.device.type, enabled=False):
            return _Adjoint.apply(a.to(self.weight.dtype), self.weight)


class _Responses(torch.autograd.Function):
    """Fx, whose gradient for x is the adjoint of the gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return nnf.conv2d(x, weight, padding=MARGIN)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad
        return (
            _adjoint(gradient, weight) if of_x else None,
            conv2d_weight(x, weight.shape, gradient, padding=MARGIN) if of_weight else None,
        )


class _Adjoint(torch.autograd.Function):
    """F'a, whose gradient for a are the responses of the gradient."""

    @staticmethod
    def forward(ctx, a: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(a, weight)
        return _adjoint(a, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, weight = ctx.saved_tensors
        of_a, of_weight = ctx.needs_input_grad
        return (
            nnf.conv2d(gradient, weight, padding=MARGIN) if of_a else None,
            conv2d_weight(gradient, weight.shape, a, padding=MARGIN) if of_weight else None,
        )


def _adjoint(a: Tensor, weight: Tensor) -> Tensor:
    if a.device.type != "cpu":
        return nnf.conv_transpose2d(a, weight, padding=MARGIN)
    width = a.shape[-1]
    packed = _packed(nnf.pad(a, (0, -width % PACKED)))
    return _unpacked(nnf.conv2d(packed, _packed_adjoint(weight), padding=(MARGIN, 1)))[..., :width]


def _packed(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, PACKED * C, H, W / PACKED): a view where the image is in channels-last layout."""
    return image.permute(0, 2, 3, 1).unflatten(2, (-1, PACKED)).flatten(3).permute(0, 3, 1, 2)


def _unpacked(packed: Tensor) -> Tensor:
    """The inverse of `_packed`."""
    return packed.permute(0, 2, 3, 1).unflatten(3, (PACKED, -1)).flatten(2, 3).permute(0, 3, 1, 2)


def _packed_adjoint(weight: Tensor) -> Tensor:
    """F' as a convolution of packed maps: (N, C, 7, 7) -> (PACKED * C, PACKED * N, 7, 3).

    A result takes pixels from its own pack, the one before and the one behind: three packs, where
    the flipped filter sits at the place of the result in its pack and zeros beside it.
    """
    flipped = weight.flip(-2, -1).transpose(0, 1)
    # The window that begins at PACKED - 1 - p is the filter as the pack's pixel p sees it.
    windows = nnf.pad(flipped, (PACKED, PACKED)).unfold(-1, 3 * PACKED, 1).flip(3).unflatten(-1, (3, PACKED))
    # (C, N, row, result's pixel, pack, pixel)
    return windows.permute(3, 0, 5, 1, 2, 4).flatten(2, 3).flatten(0, 1).contiguous(memory_format=torch.channels_last)
