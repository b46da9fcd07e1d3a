"""Wrong kernels, to measure what an error of the kernel costs.

Every function takes and returns a kernel (h, w), float64, odd sides, sum 1. The result may be larger; its centre stays
on the same place of the image.
"""

import math

import numpy as np
from scipy import ndimage


def shifted(kernel: np.ndarray, pixels: float, angle: float) -> np.ndarray:
    """The kernel moved by `pixels` in the direction `angle` (radians, 0 is to the right), by cubic splines."""
    padded = np.pad(kernel, math.ceil(pixels) + 1)
    step = (pixels * math.sin(angle), pixels * math.cos(angle))
    return _as_kernel(ndimage.shift(padded, step, order=3))


def rescaled(kernel: np.ndarray, factor: float) -> np.ndarray:
    """The kernel `factor` times as large about its centre of mass, by cubic splines."""
    padded = np.pad(kernel, math.ceil(max(kernel.shape) * max(factor - 1, 0)))
    centre = np.array(ndimage.center_of_mass(padded))
    return _as_kernel(ndimage.affine_transform(padded, [1 / factor] * 2, centre - centre / factor, order=3))


def noisy(kernel: np.ndarray, level: float, seed: int) -> np.ndarray:
    """The kernel with Gaussian noise of `level` times its maximum at every pixel."""
    noise = np.random.RandomState(seed).standard_normal(kernel.shape)
    return _as_kernel(kernel + level * kernel.max() * noise)


def _as_kernel(values: np.ndarray) -> np.ndarray:
    """Cut off negative values and scale to a sum of 1."""
    values = np.maximum(values, 0)
    return values / values.sum()
