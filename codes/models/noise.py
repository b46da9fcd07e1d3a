"""Estimate of the noise in a blurry image."""

import math

import torch
from torch import Tensor

# Estimates are not used below this level: rounding to 8 bit alone adds noise of about this size.
LEAST_SIGMA = 0.002


def estimate_noise(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Standard deviation of white noise in blurry images: (B, C, H, W) -> (B,), in the units of the image.

    It is the median of the absolute finest diagonal Haar coefficients, divided by 0.6745 (Donoho and Johnstone 1994):
    in a blurry image these coefficients hold hardly any signal. mask: None, or (B, 1 or C, H, W), 1 at valid pixels;
    coefficients with other pixels do not count. Returns 0 for an image without valid coefficients.
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
    """The upper left, upper right, lower left and lower right pixels of all 2x2 squares, (B, C, H//2, W//2) each."""
    height, width = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
    return [image[..., row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]
