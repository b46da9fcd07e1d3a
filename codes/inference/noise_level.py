"""The noise level with which a photograph is restored best, estimated from the image and its kernel."""

from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from codes.models.noise import LEAST_SIGMA, estimate_noise

# Bounds of the bands of spatial frequency that are examined, in cycles per pixel.
BANDS = (0.12, 0.18, 0.24, 0.3)
# Fractions of a band's frequencies that are compared: those that the kernel suppresses most, and least.
SUPPRESSED, PASSED = 0.15, 0.3
# If the bands hold this many times the noise of the finest details, those details were removed.
RATIO = 1.3
# Then the level is FACTOR * bands ** POWER * details ** POWER_OF_DETAILS. The three constants were fitted to the levels
# at which DSDNet-Tiny restored 261 crops of training images best, degraded as in studies/noise_level.py.
FACTOR, POWER, POWER_OF_DETAILS = 0.13, 0.775, -0.268
# The largest level, and the least noise of the finest details in that formula.
LARGEST, LEAST_DETAILS = 0.1, 0.001
# Only the middle of larger images is examined, and only the finest details of smaller ones; sides in pixels.
LARGEST_SIDE, SMALLEST_SIDE = 1024, 48


def noise_level(image: np.ndarray, kernel: np.ndarray, valid: np.ndarray | None = None) -> float:
    """The standard deviation to give a network as that of the noise, in the units of the image.

    For white noise it is the estimate from the finest details, see `estimate_noise`. JPEG compression and denoising
    remove just these details, but leave errors at coarser scales, which deconvolution amplifies. The errors can be
    measured at frequencies that the kernel suppresses, where hardly anything of the scene is left.
    image: (H, W, C) in [0, 1]. kernel: (h, w) or (h, w, C), sum 1. valid: None, or (H, W), 0 at pixels to leave out;
    they should be filled in `image`.
    """
    mask = None if valid is None else _batch(valid[..., None])
    level = details = float(estimate_noise(_batch(image), mask))
    if min(image.shape[:2]) >= SMALLEST_SIDE:
        bands = np.exp(np.log(band_levels(image, kernel)).mean())
        if bands > RATIO * details:
            level = FACTOR * bands**POWER * max(details, LEAST_DETAILS) ** POWER_OF_DETAILS
    return float(np.clip(level, LEAST_SIGMA, LARGEST))


def band_levels(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Standard deviation (3,) of the noise in each band, as if it were white.

    In a band, the power of the image is about s |K|^2 + sigma^2, where s is the power of the scene. The frequencies
    with the smallest and the largest |K|^2 give two equations.
    """
    above, before = (max(0, (side - LARGEST_SIDE) // 2) for side in image.shape[:2])
    image = image[above : above + LARGEST_SIDE, before : before + LARGEST_SIDE]
    height, width = image.shape[:2]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    mean = (image * window).sum((0, 1)) / window.sum()
    power = (np.abs(np.fft.rfft2((image - mean) * window, axes=(0, 1))) ** 2).mean(2) / (window**2).sum()
    # The window blurs the spectrum over neighbouring frequencies.
    transfer = np.abs(np.fft.rfft2(kernel, s=(height, width), axes=(0, 1))) ** 2
    transfer = uniform_filter(transfer.reshape(*transfer.shape[:2], -1).mean(2), 3, mode="wrap")
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    levels = []
    for low, high in pairwise(BANDS):
        band = (frequency >= low) & (frequency < high)
        least, most = np.quantile(transfer[band], (SUPPRESSED, 1 - PASSED))
        suppressed, passed = band & (transfer <= least), band & (transfer >= most)
        # The median, which ignores what leaks through, is log(2) times the mean for noise.
        noise = np.median(power[suppressed]) / np.log(2)
        scene = max(power[passed].mean() - noise, 0) / max(transfer[passed].mean() - transfer[suppressed].mean(), 1e-12)
        levels.append(np.sqrt(max(noise - scene * transfer[suppressed].mean(), 0.1 * noise) + 1e-8))
    return np.array(levels)


def _batch(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
