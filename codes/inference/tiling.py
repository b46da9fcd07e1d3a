"""Overlapping tiles of large images, blended so that no seam shows."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Tiles start at multiples of this, so that a U-Net with four halvings pools the same pixels in each.
MULTIPLE = 16
# Pixels at an inner border of a tile that are not used. Beyond them the tile fades into the next one.
DISCARDED = 16


class Tile(NamedTuple):
    """Rows and columns of a tile, and its weights there, (height, 1) and (width,), from 0 to 1."""

    rows: slice
    columns: slice
    weight_of_rows: Tensor
    weight_of_columns: Tensor

    def of(self, image: Tensor) -> Tensor:
        """The tile's part of images (..., H, W)."""
        return image[..., self.rows, self.columns]


def tile_overlap(kernel: Tensor) -> int:
    """Pixels by which tiles have to overlap for a kernel (..., h, w), as measured for DSDNet (docs/deblurring.md)."""
    return 48 + 4 * (max(kernel.shape[-2:]) - 1)


def smallest_side(overlap: int) -> int:
    """The smallest side of tiles with which no pixel is in three tiles along an axis."""
    return (math.ceil(2 * overlap / MULTIPLE) + 2) * MULTIPLE


def plan(size: tuple[int, int], side: int, overlap: int) -> list[Tile]:
    """Tiles of at most `side` x `side` pixels that cover (H, W) and overlap by at least `overlap` pixels.

    The weights of all tiles at a pixel sum to 1. At an inner border they are 0 for DISCARDED pixels, then grow
    linearly.
    Raises ValueError for a side that is not a multiple of MULTIPLE or below `smallest_side`.
    """
    if side % MULTIPLE or side < smallest_side(overlap):
        raise ValueError(f"a tile of {side} pixels for an overlap of {overlap}")
    rows, columns = (_spans(length, side, overlap) for length in size)
    return [Tile(r, c, w[:, None], v) for r, w in rows for c, v in columns]


def _spans(length: int, side: int, overlap: int) -> list[tuple[slice, Tensor]]:
    """The tiles along one axis and their weights."""
    step = (side - overlap) // MULTIPLE * MULTIPLE
    count = 1 + max(0, math.ceil((length - side) / step))
    spans = []
    for number in range(count):
        start, stop = number * step, length if number == count - 1 else number * step + side
        place = torch.arange(start, stop) + 0.5
        weight = torch.ones(stop - start)
        ramp = side - step - 2 * DISCARDED
        if number > 0:
            weight = weight.minimum((place - start - DISCARDED) / ramp)
        if number < count - 1:
            weight = weight.minimum((stop - DISCARDED - place) / ramp)
        spans.append((slice(start, stop), weight.clamp(min=0)))
    return spans


def blend(restore: Callable[[Tile], Sequence[Tensor]], tiles: Sequence[Tile], size: tuple[int, int]) -> list[Tensor]:
    """Whole images (B, C, H, W) on the CPU, blended from the images that `restore` gives for each tile."""
    whole: list[Tensor] = []
    for tile in tiles:
        parts = restore(tile)
        if not whole:
            whole = [torch.zeros(*part.shape[:-2], *size) for part in parts]
        for image, part in zip(whole, parts, strict=True):
            tile.of(image).add_(part.cpu().float() * tile.weight_of_rows * tile.weight_of_columns)
    return whole
