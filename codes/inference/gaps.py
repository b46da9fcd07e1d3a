"""Gaps in an image: clipped highlights are found, and gaps are filled for the start of the iteration."""

import numpy as np
import torch
import torch.nn.functional as nnf
from scipy.ndimage import minimum_filter
from torch import Tensor

# From this value on, a pixel counts as clipped by the sensor.
CLIPPED = 254.5 / 255
# A masked pixel is replaced by the mean of the valid pixels within this distance; wider gaps are filled inwards.
_REACH = 4


def fill_gaps(image: Tensor, mask: Tensor) -> Tensor:
    """The image (B, C, H, W) with every masked pixel replaced by the mean of the valid ones around it.

    mask: (B or 1, 1, H, W), 1 at valid pixels. Used for x0, an inverse filter, which would ring at black gaps.
    Clipped values stay as they are, because the true value is brighter still.
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


def clipped_highlights(image: np.ndarray) -> np.ndarray:
    """The mask (H, W) of an image (H, W, C) in [0, 1] that is 0 at clipped pixels and their neighbours, else 1.

    If that leaves no valid pixel, all are valid.
    """
    valid = minimum_filter(image.max(2) < CLIPPED, 3)
    return valid.astype(np.float32) if valid.any() else np.ones(valid.shape, np.float32)
