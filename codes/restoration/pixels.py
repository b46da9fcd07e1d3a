"""Pixels of any type, and their values as networks use them: float32 from 0 to 1."""

from typing import NamedTuple

import numpy as np

from codes.data.images import FULL_SCALE
from codes.utils.errors import UserError

# An image whose maximum is below this fraction of full scale is rescaled.
DIM = 0.5
# The quantile of an image that hot pixels, at most a thousandth of all, cannot change.
BRIGHT = 0.999
# If only hot pixels come near the maximum, the white level is this multiple of the BRIGHT quantile.
HEADROOM = 2


class Values(NamedTuple):
    """Colours and alpha channel of an image.

    colours: float32 (H, W, 1 or 3), from 0 to 1; alpha: (H, W, 1) as it was, or None; white: the fraction of full scale
    that the colours were divided by, 1 for an ordinary image; cut: number of values that were clipped.
    """

    colours: np.ndarray
    alpha: np.ndarray | None
    white: float
    cut: int


def pixels_to_values(pixels: np.ndarray, where: str = "the image", white: float | None = None) -> Values:
    """Colours and alpha of an image (H, W) or (H, W, C): uint8, uint16 or float, C = 1, 3, or 2, 4 with alpha.

    white: the value, as a fraction of full scale, that becomes 1; None: `white_level`. Values above it or below 0 are
    clipped. Raises UserError, naming `where`, for another shape or type, no pixels, or values that are not finite.
    """
    pixels = np.asarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or pixels.size == 0:
        raise UserError(f"{where}: an image is (height, width) or (height, width, 1 to 4), not {pixels.shape}")
    if pixels.dtype not in FULL_SCALE and pixels.dtype.kind != "f":
        raise UserError(f"{where}: pixels of type {pixels.dtype}; 8-bit, 16-bit or float is needed")
    count = 1 if pixels.shape[2] < 3 else 3
    colours, alpha = as_float(pixels[..., :count]), pixels[..., count:]
    if not np.isfinite(colours).all():
        raise UserError(f"{where}: holds values that are not finite (NaN or infinity)")
    white = white_level(colours) if white is None else white
    cut = np.count_nonzero((colours < 0) | (colours > white))
    return Values(np.clip(colours / np.float32(white), 0, 1), alpha if alpha.size else None, white, cut)


def white_level(colours: np.ndarray) -> float:
    """The value to divide an image by so that it fills the range from 0 to 1, for which networks are trained.

    1 if its maximum is between DIM and 1, else the maximum. If only a few hot pixels come near the maximum, HEADROOM
    times the BRIGHT quantile.
    """
    most = float(colours.max())
    if DIM <= most <= 1 or most <= 0:
        return 1.0
    bright = float(np.quantile(colours, BRIGHT, method="lower"))
    return min(most, HEADROOM * bright) if bright > 0 else most


def values_to_pixels(values: Values, dtype: np.dtype) -> np.ndarray:
    """The inverse of `pixels_to_values`: an image (H, W, C) of `dtype`.

    Colours are clamped to [0, 1] of full scale, but not at 1 if the image itself was brighter. Integers are rounded.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # `restore` refuses values that are not finite
        colours = values.colours * np.float32(values.white)
        if dtype in FULL_SCALE:
            colours = as_integers(colours, dtype)
        else:
            colours = np.clip(colours, 0, 1 if values.white <= 1 else None).astype(dtype)
    return colours if values.alpha is None else np.concatenate([colours, values.alpha], 2)


def as_float(pixels: np.ndarray) -> np.ndarray:
    """Pixels as float32, integers divided by their full scale."""
    if pixels.dtype in FULL_SCALE:
        return pixels.astype(np.float32) / np.float32(FULL_SCALE[pixels.dtype])
    with np.errstate(over="ignore"):  # `pixels_to_values` refuses what becomes infinite
        return pixels.astype(np.float32)


def as_integers(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values clamped to [0, 1] as uint8 or uint16."""
    return np.rint(np.clip(values, 0, 1) * FULL_SCALE[np.dtype(dtype)]).astype(dtype)
