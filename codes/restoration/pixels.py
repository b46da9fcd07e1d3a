"""Pixels of any type and their values as networks take them, float32 from 0 to 1."""

from typing import NamedTuple

import numpy as np

from codes.data.images import FULL_SCALE
from codes.utils.errors import UserError


class Values(NamedTuple):
    """An image taken apart.

    colours: float32 (H, W, 1 or 3), from 0 to 1 but for a float image that goes below 0; alpha: (H, W, 1) as it was, or
    None; scale: what float colours were divided by, because they went beyond 1.
    """

    colours: np.ndarray
    alpha: np.ndarray | None
    scale: float


def values_of(pixels: np.ndarray, where: str = "the image") -> Values:
    """Take an image (H, W) or (H, W, C) apart: uint8, uint16 or float, C = 1, 3, or 2, 4 with alpha.

    Raises UserError, naming `where`, for another shape or type, no pixels, or values that are not finite.
    """
    pixels = np.asarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or pixels.size == 0:
        raise UserError(f"{where}: an image is (height, width) or (height, width, 1 to 4), not {pixels.shape}")
    if pixels.dtype not in FULL_SCALE and pixels.dtype.kind != "f":
        raise UserError(f"{where}: pixels of type {pixels.dtype}; 8-bit, 16-bit or float is needed")
    count = 1 if pixels.shape[2] < 3 else 3
    colours, alpha = pixels[..., :count], pixels[..., count:]
    colours = as_float(colours)
    if not np.isfinite(colours).all():
        raise UserError(f"{where}: holds values that are not finite (NaN or infinity)")
    scale = max(1.0, float(colours.max()))
    return Values(colours / np.float32(scale), alpha if alpha.size else None, scale)


def pixels_of(values: Values, dtype: np.dtype) -> np.ndarray:
    """Put an image together again as (H, W, C) of `dtype`.

    Colours are clamped to [0, 1] and integers rounded; those of a float image that went beyond 1 are not clamped.
    """
    if dtype in FULL_SCALE:
        colours = as_integers(values.colours, dtype)
    else:
        colours = values.colours * np.float32(values.scale) if values.scale > 1 else np.clip(values.colours, 0, 1)
        colours = colours.astype(dtype)
    return colours if values.alpha is None else np.concatenate([colours, values.alpha], 2)


def as_float(pixels: np.ndarray) -> np.ndarray:
    """float32, integers divided by their full scale."""
    if pixels.dtype in FULL_SCALE:
        return pixels.astype(np.float32) / np.float32(FULL_SCALE[pixels.dtype])
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which `values_of` refuses
        return pixels.astype(np.float32)


def as_integers(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """uint8 or uint16 of values clamped to [0, 1]."""
    return np.rint(np.clip(values, 0, 1) * FULL_SCALE[np.dtype(dtype)]).astype(dtype)
