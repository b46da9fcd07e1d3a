"""The noise level of an image: estimated, and parameters that depend on it."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

# Estimates are not used below this level: rounding to 8 bit alone adds noise of about this size.
LEAST_SIGMA = 0.002


def estimate_noise(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Standard deviation of white noise in a blurred image, one value an image.

    Median of the absolute finest diagonal Haar coefficients / 0.6745 (Donoho and Johnstone
    1994): blur leaves hardly any signal there. (B, C, H, W) -> (B,), same units as the image.
    mask: None, or (B, 1 or C, H, W), 1 at valid pixels; coefficients of others don't count. Where none counts: 0.
    """
    even_even, even_odd, odd_even, odd_odd = _quarters(image)
    diagonal = ((even_even - even_odd - odd_even + odd_odd) / 2).abs()
    if diagonal.numel() == 0:
        return image.new_zeros(len(image))
    if mask is None:
        return diagonal.flatten(1).median(1).values / 0.6745
    valid = math.prod(_quarters(mask.expand_as(image))) > 0
    return diagonal.where(valid, torch.nan).flatten(1).nanmedian(1).values.nan_to_num() / 0.6745


def _quarters(image: Tensor) -> list[Tensor]:
    """Of every 2x2 pixels the upper left, upper right, lower left and lower right ones, (B, C, H//2, W//2) each."""
    height, width = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
    return [image[..., row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]


def at_noise_level(table: Mapping[float, float], sigma: float) -> float:
    """A parameter given at some noise levels, interpolated to `sigma` (log-log, constant outside)."""
    levels = sorted(table)
    logs = np.log([table[level] for level in levels])
    return math.exp(np.interp(math.log(max(sigma, 1e-6)), np.log(levels), logs))


def noise_of(image: Tensor, sigma: Tensor | None) -> float:
    """The mean of `sigma` (B,) if it is known, else of the estimates for the batch (B, C, H, W)."""
    return float((estimate_noise(image) if sigma is None else sigma).mean())
