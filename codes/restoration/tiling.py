"""Large images in overlapping tiles, blended so that no seam shows."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MULTIPLE = 16
"""Tiles start at multiples of it, as the pooling of a U-Net of four halvings does."""
UNSEEN = 16
"""A tile's outermost pixels at an inner border, which are left out; from there on it fades into the next one."""


class Tile(NamedTuple):
    """Rows and columns of a tile, and its weight there: (height, 1) and (width) from 0 to 1."""

    rows: slice
    columns: slice
    weight_of_rows: Tensor
    weight_of_columns: Tensor

    def of(self, image: Tensor) -> Tensor:
        """The tile's part of images (..., H, W)."""
        return image[..., self.rows, self.columns]


def plan(size: tuple[int, int], side: int, overlap: int) -> list[Tile]:
    """Tiles of at most `side` x `side` pixels that cover (H, W) and overlap by at least `overlap` pixels.

    The weights of all tiles at a pixel sum to 1. At an inner border a tile's outermost UNSEEN pixels
    have weight 0, from there on the weight grows linearly. Raises ValueError for a side that is not
    a multiple of MULTIPLE or below `smallest_side`.
    """
    if side % MULTIPLE or side < smallest_side(overlap):
        raise ValueError(f"a tile of {side} pixels for an overlap of {overlap}")
    rows, columns = (_spans(length, side, overlap) for length in size)
    return [Tile(r, c, w[:, None], v) for r, w in rows for c, v in columns]


def _spans(length: int, side: int, overlap: int) -> list[tuple[slice, Tensor]]:
    """Along one axis: the tiles and their weights."""
    step = (side - overlap) // MULTIPLE * MULTIPLE
    count = 1 + max(0, math.ceil((length - side) / step))
    spans = []
    for number in range(count):
        start, stop = number * step, length if number == count - 1 else number * step + side
        place = torch.arange(start, stop) + 0.5
        weight = torch.ones(stop - start)
        ramp = side - step - 2 * UNSEEN
        if number > 0:
            weight = weight.minimum((place - start - UNSEEN) / ramp)
        if number < count - 1:
            weight = weight.minimum((stop - UNSEEN - place) / ramp)
        spans.append((slice(start, stop), weight.clamp(min=0)))
    return spans


def smallest_side(overlap: int) -> int:
    """The least `side` that `plan` takes for an overlap above 2 UNSEEN: along an axis no pixel lies in three tiles."""
    return (math.ceil(2 * overlap / MULTIPLE) + 2) * MULTIPLE


def blended(restore: Callable[[Tile], Sequence[Tensor]], tiles: Sequence[Tile], size: tuple[int, int]) -> list[Tensor]:
    """What `restore` gives for every tile, a list of images (B, C, h, w), put together to whole ones on the CPU."""
    whole: list[Tensor] = []
    for tile in tiles:
        parts = restore(tile)
        if not whole:
            whole = [torch.zeros(*part.shape[:-2], *size) for part in parts]
        for image, part in zip(whole, parts, strict=True):
            tile.of(image).add_(part.cpu().float() * tile.weight_of_rows * tile.weight_of_columns)
    return whole
