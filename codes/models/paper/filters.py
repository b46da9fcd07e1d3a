"""Learned filter banks, with their adjoint."""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

SIDE = 7
MARGIN = SIDE // 2

REGISTER = 16
"""float32 values that a vector register of the processor holds"""
LARGEST_PACK = 4
"""More pixels than these, each with zeros of its own beside its filter, cost more than they fill."""


class Filters(nn.Conv2d):
    """A bank of 7x7 filters, F_i or G_j of the paper: no bias, zero padding.

    In float32 under autocast too: the difference G(y) - G(Hx) is as small as the noise, which
    half precision would lose.
    """

    def __init__(self, in_nc: int, filters: int):
        super().__init__(in_nc, filters, SIDE, padding=MARGIN, bias=False)

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
        return _correlation(x, weight)

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
            _correlation(gradient, weight) if of_a else None,
            conv2d_weight(gradient, weight.shape, a, padding=MARGIN) if of_weight else None,
        )


def _adjoint(a: Tensor, weight: Tensor) -> Tensor:
    return _correlation(a, weight.flip(-2, -1).transpose(0, 1))


def _correlation(x: Tensor, weight: Tensor) -> Tensor:
    """conv2d(x, weight, padding=MARGIN), of several pixels at once on a CPU where one's few results
    would leave most of a vector register empty: pixels side by side are taken as channels of one."""
    pack = min(LARGEST_PACK, REGISTER // weight.shape[0]) if x.device.type == "cpu" else 1
    if pack < 2:
        return nnf.conv2d(x, weight, padding=MARGIN)
    width = x.shape[-1]
    padded = nnf.pad(x, (0, -width % pack)) if width % pack else x
    weight, margin = _packed_filters(weight, pack)
    return _unpacked(nnf.conv2d(_packed(padded, pack), weight, padding=(MARGIN, margin)), pack)[..., :width]


def _packed(image: Tensor, pack: int) -> Tensor:
    """(B, C, H, W) -> (B, pack * C, H, W / pack): a view where the image is in channels-last layout."""
    return image.permute(0, 2, 3, 1).unflatten(2, (-1, pack)).flatten(3).permute(0, 3, 1, 2)


def _unpacked(packed: Tensor, pack: int) -> Tensor:
    """The inverse of `_packed`."""
    return packed.permute(0, 2, 3, 1).unflatten(3, (pack, -1)).flatten(2, 3).permute(0, 3, 1, 2)


def _packed_filters(weight: Tensor, pack: int) -> tuple[Tensor, int]:
    """Filters (N, C, 7, 7) for packed images: (pack * N, pack * C, 7, 2 * margin + 1), and the margin.

    A result takes pixels from its own pack and `margin` packs on either side, where the filter sits
    at the place of the result in its pack and zeros beside it.
    """
    margin = -(-MARGIN // pack)
    packs, outer = 2 * margin + 1, margin * pack - MARGIN
    # The window that begins at pack - 1 - p is the filter as pixel p of a pack sees it.
    padded = nnf.pad(weight, (outer + pack - 1, outer + pack - 1))
    windows = padded.unfold(-1, packs * pack, 1).flip(3).unflatten(-1, (packs, pack))
    # (N, C, row, result's pixel, pack, pixel)
    packed = windows.permute(3, 0, 5, 1, 2, 4).flatten(2, 3).flatten(0, 1)
    return packed.contiguous(memory_format=torch.channels_last), margin
