"""Masks of the pixels to leave out, as users give them."""

from pathlib import Path

import numpy as np
import torch

from codes.inference.gaps import fill_gaps
from codes.restoration.image_files import read_photo
from codes.restoration.pixels import pixels_to_values
from codes.utils.errors import UserError


def read_mask(path: str | Path) -> np.ndarray:
    """A mask file as bool (H, W): True (white, valid) where the darkest channel is at least half of full scale."""
    return pixels_to_values(read_photo(path).pixels, str(path), white=1).colours.min(2) >= 0.5


def checked_mask(mask: np.ndarray, size: tuple[int, int], where: str) -> np.ndarray:
    """A mask (H, W), 0 at pixels to leave out, as float32 with values 0 and 1.

    Raises UserError, naming `where`, for values that are not finite, another size, and a mask without a valid pixel.
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biuf" or not np.isfinite(mask).all():
        raise UserError(f"{where}: a mask is made of finite numbers, 0 at pixels to leave out")
    if mask.shape != size:
        raise UserError(f"{where}: the mask has {mask.shape} values, the image {size} pixels")
    if not mask.any():
        raise UserError(f"{where}: the mask leaves out every pixel; white (or 1) are the valid ones")
    return (mask != 0).astype(np.float32)


def without_gaps(blurry: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """An image (H, W, C) from 0 to 1, with pixels where `valid` (H, W) is 0 filled from those around them.

    Used to judge a kernel, because dead pixels look like edges. Unlike `fill_gaps`, it replaces clipped values as well.
    """
    if valid is None:
        return blurry
    y, m = torch.from_numpy(blurry).permute(2, 0, 1)[None], torch.from_numpy(valid).to(torch.float32)[None, None]
    return fill_gaps(m * y, m)[0].permute(1, 2, 0).numpy()
