"""Masks of the pixels to leave out: read, found, and filled in for the start of the iteration."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nnf
from scipy.ndimage import minimum_filter
from torch import Tensor

from codes.restoration.image_files import read_photo
from codes.restoration.pixels import values_of
from codes.utils.errors import UserError

CLIPPED = 254.5 / 255
"""From here on a value is taken to be clipped by the sensor."""
_REACH = 4
"""Pixels about a masked one whose mean replaces it; a wider gap is filled from its rim inwards."""


def read_mask(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """A mask file as float32 (H, W): 1 (white, valid) or 0 (black, to be left out).

    Any image of `size` (H, W); of several channels the darkest counts, and half of the full scale is
    the limit. Raises UserError for another size, a mask without a valid pixel, and as `read_photo` does.
    """
    values = values_of(read_photo(path).pixels, str(path), white=1).colours
    if values.shape[:2] != tuple(size):
        raise UserError(
            f"{path}: the mask has {values.shape[1]}x{values.shape[0]} pixels, the image {size[1]}x{size[0]}"
        )
    return checked_mask(values.min(2) >= 0.5, size, str(path))


def checked_mask(mask: np.ndarray, size: tuple[int, int], where: str = "the mask") -> np.ndarray:
    """A mask (H, W), where what is not 0 is valid, as float32 of 0 and 1.

    Raises UserError as `read_mask` does, and for what is no number.
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biuf" or not np.isfinite(mask).all():
        raise UserError(f"{where}: a mask is made of finite numbers, 0 at pixels to leave out")
    if mask.shape != tuple(size):
        raise UserError(f"{where}: a mask is an array {tuple(size)} as the image is, not {mask.shape}")
    valid = (mask != 0).astype(np.float32)
    if not valid.any():
        raise UserError(f"{where}: leaves out every pixel; white (or 1) are the valid ones")
    return valid


def clipped_highlights(image: np.ndarray) -> np.ndarray:
    """The mask (H, W) of an image (H, W, C) that leaves out clipped pixels and their neighbours."""
    valid = image.max(2) < CLIPPED
    return minimum_filter(valid, 3).astype(np.float32) if valid.any() else np.ones(valid.shape, np.float32)


def filled(image: Tensor, mask: Tensor) -> Tensor:
    """The image (B, C, H, W) with what the mask (B or 1, 1, H, W) leaves out replaced by what is about it.

    For the start x0, an inverse filter, to which black gaps would be edges. Clipped values stay: what
    they hide is brighter still.
    """
    keep = torch.maximum(mask.expand_as(image), (image >= CLIPPED).to(image.dtype))
    known, values = keep.clone(), image * keep
    side = 2 * _REACH + 1
    while not known.all():
        weight = nnf.avg_pool2d(known, side, 1, _REACH)
        mean = nnf.avg_pool2d(values * known, side, 1, _REACH) / weight.clamp(min=1e-6)
        reached = ((weight > 1e-6) & (known == 0)).to(image.dtype)
        if not reached.any():
            break
        values, known = values + reached * mean, known + reached
    return values


def without_gaps(blurry: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """An image (H, W, C), from 0 to 1, with the pixels where `valid` (H, W) is 0 filled from those about them.

    For the judgement of a kernel, to which dead pixels would be edges. Unlike `filled` it leaves no clipped value.
    """
    if valid is None:
        return blurry
    y, m = torch.from_numpy(blurry).permute(2, 0, 1)[None], torch.from_numpy(valid).to(torch.float32)[None, None]
    return filled(m * y, m)[0].permute(1, 2, 0).numpy()
