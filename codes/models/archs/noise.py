"""The noise level of an image: estimated, and parameters that depend on it."""

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor


def estimate_noise(image: Tensor) -> Tensor:
    """Standard deviation of white noise in a blurred image, one value an image.

    Median of the absolute finest diagonal Haar coefficients / 0.6745 (Donoho and Johnstone
    1994): blur leaves hardly any signal there. (B, C, H, W) -> (B,), same units as the image.
    """
    height, width = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
    even, odd = image[..., 0:height:2, :width], image[..., 1:height:2, :width]
    diagonal = (even[..., ::2] - even[..., 1::2] - odd[..., ::2] + odd[..., 1::2]) / 2
    if diagonal.numel() == 0:
        return image.new_zeros(len(image))
    return diagonal.abs().flatten(1).median(1).values / 0.6745


def at_noise_level(table: Mapping[float, float], sigma: float) -> float:
    """A parameter given at some noise levels, interpolated to `sigma` (log-log, constant outside)."""
    levels = sorted(table)
    logs = np.log([table[level] for level in levels])
    return math.exp(np.interp(math.log(max(sigma, 1e-6)), np.log(levels), logs))


def noise_of(image: Tensor, noise_sigma: float | None) -> float:
    """`noise_sigma` where it is known, else the estimate for the batch."""
    return float(estimate_noise(image).mean()) if noise_sigma is None else noise_sigma
