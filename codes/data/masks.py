"""Masks of pixels to leave out, found in an image."""

import numpy as np
from scipy.ndimage import minimum_filter

from codes.models.gaps import CLIPPED


def clipped_highlights(image: np.ndarray) -> np.ndarray:
    """The mask (H, W) of an image (H, W, C) in [0, 1] that is 0 at clipped pixels and their neighbours, else 1."""
    valid = image.max(2) < CLIPPED
    return minimum_filter(valid, 3).astype(np.float32) if valid.any() else np.ones(valid.shape, np.float32)
