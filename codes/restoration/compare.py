"""A sheet with an image before and after."""

import numpy as np

from codes.data.images import as_rgb, to_8bit
from codes.data.kernels import with_inset
from codes.restoration.pixels import values_of

# White columns between before and after.
GAP = 4


def sheet(before: np.ndarray, after: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Before, with the kernel inset, and after: two images of any type -> (H, 2W + GAP, 3) uint8."""
    blurry = values_of(before)
    restored = values_of(after, white=blurry.white).colours
    grey = kernel if kernel.ndim == 2 else kernel.mean(2)
    panels = [as_rgb(to_8bit(image)) for image in (with_inset(blurry.colours, grey), restored)]
    gap = np.full((len(restored), GAP, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], 1)
