"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, CVPR 2016).

A tile of 4x4 results comes from 6x6 pixels: both these and the filter are transformed to 36 values, whose
products, summed over the channels, are transformed back. Each of the 36 is one matrix product for all tiles.
In float32 results differ from those of the direct convolution by some 5e-6 of the largest.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

LEAST_CHANNELS = 96
"""in and out: with fewer the transforms cost more than the products that are saved"""
LEAST_TILES = 32
"""with fewer it is the filters' transforms that do"""
TILES = 144
"""transformed at a time: their values stay in the cache, and need little memory"""
BLOCK = 6
"""of the 36 products at a time: the transformed filters, four times as large as the filters, stay in the cache too"""
TILE, PATCH = 4, 6


def _squared(rows: list[list[float]]) -> Tensor:
    """The transform of both dimensions from that of one."""
    matrix = torch.tensor(rows)
    return torch.kron(matrix, matrix)


_OF_PATCH = _squared(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1.0],
    ]
)
_OF_FILTER = _squared(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1.0],
    ]
)
_TO_TILE = _squared(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1.0],
    ]
)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with zero padding that takes the faster way."""

    def __init__(self, in_nc: int, out_nc: int):
        super().__init__(in_nc, out_nc, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_nc, H, W) -> (B, out_nc, H, W)."""
        return conv3x3(x, self.weight, self.bias)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """conv2d(x, weight, bias, padding=1), x (B, C, H, W), weight (N, C, 3, 3): by Winograd's transforms where it pays.

    That is in training by one thread a process, on a CPU, in float32, for enough channels in channels-last layout and
    enough pixels. What lies between the products is no work for several threads, and gains nothing in inference.
    """
    if _pays(x, weight):
        return _Winograd.apply(x, weight, bias)
    return nnf.conv2d(x, weight, bias, padding=1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and torch.get_num_threads() == 1
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and x.is_contiguous(memory_format=torch.channels_last)
        and len(x) * _tiles(x.shape[2]) * _tiles(x.shape[3]) >= LEAST_TILES
    )


class _Winograd(torch.autograd.Function):
    """The convolution; its gradients by the same transforms, which are computed again: kept, they take memory."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolution(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _convolution(gradient, weight, None, adjoint=True) if of_x else None,
            _weight_gradient(x, gradient) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        )


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, adjoint: bool = False) -> Tensor:
    """x (B, C, H, W) -> (B, N, H, W) in channels-last layout; `adjoint`: (B, N, H, W) -> (B, C, H, W)."""
    batch, _, height, width = x.shape
    channels = weight.shape[1 if adjoint else 0]
    filters = weight.permute(2, 3, 0, 1).reshape(9, -1)
    transform = _OF_FILTER.flip(1) if adjoint else _OF_FILTER  # the adjoint has the filters turned by 180 degrees
    result = x.new_empty(batch, channels, height, width).to(memory_format=torch.channels_last)
    rows = result.permute(0, 2, 3, 1)
    for top, patches in _patches(x):
        products = patches.new_empty(*patches.shape[:2], channels)
        for some in _blocks():
            transformed = (transform[some] @ filters).view(BLOCK, *weight.shape[:2])
            torch.bmm(patches[some], transformed if adjoint else transformed.mT, out=products[some])
        tiles = (_TO_TILE @ products.flatten(1)).view(TILE, TILE, batch, -1, _tiles(width), channels)
        pixels = tiles.permute(2, 3, 0, 4, 1, 5).flatten(3, 4).flatten(1, 2)
        slab = rows[:, top : top + pixels.shape[1]]
        pixels = pixels[:, : slab.shape[1], :width]
        slab.copy_(pixels) if bias is None else torch.add(pixels, bias, out=slab)
    return result


def _weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """x (B, C, H, W) and the gradient of the results (B, N, H, W) -> (N, C, 3, 3)."""
    (filters, height, width), channels = gradient.shape[1:], x.shape[1]
    padded = nnf.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, -width % TILE, 0, -height % TILE))
    tiles = padded.unflatten(2, (-1, TILE)).unflatten(1, (-1, TILE)).permute(2, 4, 0, 1, 3, 5)
    total = gradient.new_zeros(9, filters * channels)
    for top, patches in _patches(x):
        down = patches.shape[1] // (len(x) * _tiles(width))
        slab = tiles[:, :, :, top // TILE : top // TILE + down].reshape(TILE**2, -1)
        values = (_TO_TILE.T @ slab).view(PATCH**2, -1, filters).transpose(1, 2)
        for some in _blocks():
            total.addmm_(_OF_FILTER[some].T, torch.bmm(values[some], patches[some]).flatten(1))
    return total.view(3, 3, filters, channels).permute(2, 3, 0, 1)


def _patches(x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The transformed patches (36, tiles, C) of a slab of the images after the other, and the slab's first row."""
    batch, channels, height, width = x.shape
    down, across = _tiles(height), _tiles(width)
    after = (TILE * down + 1 - height, TILE * across + 1 - width)
    padded = nnf.pad(x.permute(0, 2, 3, 1), (0, 0, 1, after[1], 1, after[0]))
    patches = padded.unfold(1, PATCH, TILE).unfold(2, PATCH, TILE).permute(4, 5, 0, 1, 2, 3)
    step = max(1, TILES // (batch * across))
    for top in range(0, down, step):
        slab = patches[:, :, :, top : top + step].reshape(PATCH**2, -1)
        yield TILE * top, (_OF_PATCH @ slab).view(PATCH**2, -1, channels)


def _blocks() -> Iterator[slice]:
    return (slice(first, first + BLOCK) for first in range(0, PATCH**2, BLOCK))


def _tiles(size: int) -> int:
    return -(-size // TILE)
