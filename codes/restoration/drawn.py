"""A kernel from a drawing."""

import cv2
import numpy as np

from codes.utils.errors import UserError

CANVAS = 300
"""Side of the canvas in pixels; a pixel of the kernel is SCALE of them."""
SCALE = 12


def kernel_drawn(drawing: np.ndarray | None) -> np.ndarray:
    """The kernel (h, w) of dark strokes on a light or transparent canvas, (H, W, 4) uint8; its centre of mass central.

    Raises UserError where nothing is drawn.
    """
    if drawing is None or drawing.size == 0:
        raise UserError("the drawing is empty")
    grey, alpha = drawing[..., :3].mean(2) / 255, drawing[..., 3] / 255
    ink = np.where(alpha * (1 - grey) > 0.05, alpha * (1 - grey), 0).astype(np.float32)
    if not ink.any():
        raise UserError("the drawing is empty: draw the path that a bright point takes")
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in ink.shape)
    total = ink.sum()
    middle = [float((ink.sum(1) * rows).sum() / total), float((ink.sum(0) * columns).sum() / total)]
    extent = max(np.abs(place - at).max() for place, at in (
        (rows[ink.any(1)], middle[0]),
        (columns[ink.any(0)], middle[1]),
    ))  # fmt: skip
    side = 2 * int(np.ceil((extent + 1) / SCALE)) + 1
    shift = np.float32(
        [
            [1, 0, side * SCALE / 2 - ink.shape[1] / 2 - middle[1]],
            [0, 1, side * SCALE / 2 - ink.shape[0] / 2 - middle[0]],
        ]
    )
    moved = cv2.warpAffine(ink, shift, (side * SCALE, side * SCALE))
    return cv2.resize(moved, (side, side), interpolation=cv2.INTER_AREA).astype(np.float64)
