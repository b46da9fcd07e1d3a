"""A kernel from a drawing."""

import math

import numpy as np
from scipy.ndimage import center_of_mass

from codes.utils.errors import UserError

# Side of the canvas in pixels.
CANVAS = 360
# Pixels of the canvas for one pixel of the kernel.
SCALE = 8


def kernel_drawn(drawing: np.ndarray | None) -> np.ndarray:
    """The kernel (h, h), odd sides, of dark strokes on a light or transparent canvas (H, W, 4), uint8.

    The centre of mass of the strokes becomes the centre of the kernel. Raises UserError for an empty drawing.
    """
    ink = np.zeros((1, 1)) if drawing is None else drawing[..., 3] / 255 * (1 - drawing[..., :3].mean(2) / 255)
    ink[ink < 0.05] = 0
    rows, columns = np.nonzero(ink)
    if rows.size == 0:
        raise UserError("the drawing is empty: draw the path that a bright point takes")
    row, column = (round(place) for place in center_of_mass(ink))
    reach = max(np.abs(rows - row).max(), np.abs(columns - column).max()) + 1
    side = 2 * math.ceil(reach / SCALE) + 1
    half = side * SCALE // 2
    window = np.pad(ink, half)[row : row + 2 * half, column : column + 2 * half]
    return window.reshape(side, SCALE, side, SCALE).mean((1, 3))
