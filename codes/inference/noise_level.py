"""The noise level with which a photograph is restored best, estimated from the image and its kernel."""

from itertools import pairwise

import numpy as np
import torch
from scipy.fft import dctn
from scipy.ndimage import uniform_filter

from codes.models.noise import LEAST_SIGMA, estimate_noise

# Bounds of the bands of spatial frequency that are examined, in cycles per pixel.
BANDS = (0.12, 0.18, 0.24, 0.3)
# Fractions of a band's frequencies that are compared: those that the kernel suppresses most, and least.
SUPPRESSED, PASSED = 0.15, 0.3
# Without JPEG compression: if the bands hold RATIO times the noise of the finest details, those details were removed,
# and the level is FACTOR * bands ** POWER * details ** POWER_OF_DETAILS.
RATIO, FACTOR, POWER, POWER_OF_DETAILS = 1.7, 0.142, 0.724, -0.216
# With it: log(level) = OFFSET + sum of WEIGHTS times the logarithms of the three bands and of the finest details.
OFFSET, WEIGHTS = -1.801, (-0.195, 0.569, 0.329, -0.187)
# All of these constants were fitted to the levels at which DSDNet-Tiny restored 261 degraded crops of training images
# best: JPEG of quality 60 to 98, white, correlated and Poisson noise, demosaiced and denoised.
# JPEG rounds most of the finest coefficients of an 8x8 cosine transform to zero: those below LEAST_COEFFICIENT, in
# steps of 8 bit. The crops that were compressed have a `compression` of 0.22 or more, the others of 0.15 or less.
LEAST_COEFFICIENT, COMPRESSED = 0.6, 0.18
# The largest level, and the least noise of the finest details in that formula.
LARGEST, LEAST_DETAILS = 0.1, 0.001
# Only the middle of larger images is examined, and only the finest details of smaller ones; sides in pixels.
LARGEST_SIDE, SMALLEST_SIDE = 768, 48


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
        above, before = (max(0, (side - LARGEST_SIDE) // 2) for side in image.shape[:2])
        image = image[above : above + LARGEST_SIDE, before : before + LARGEST_SIDE]
        details = max(details, LEAST_DETAILS)
        raw, bands = band_levels(image, kernel)
        if compression(image) > COMPRESSED:
            level = np.exp(OFFSET + np.dot(WEIGHTS, np.log([*raw, details])))
        elif (average := np.exp(np.log(bands).mean())) > RATIO * details:
            level = FACTOR * average**POWER * details**POWER_OF_DETAILS
    return float(np.clip(level, LEAST_SIGMA, LARGEST))


def compression(image: np.ndarray) -> float:
    """How clearly an image (H, W, C) in [0, 1] shows the grid of JPEG, 0 to 1, even if it was cropped afterwards.

    It compares the shares of small coefficients at the 64 positions that the grid can have.
    """
    grey = 255 * (image @ (0.299, 0.587, 0.114) if image.shape[2] == 3 else image.mean(2))
    zeros = []
    for top, left in np.ndindex(8, 8):
        height, width = ((side - first) // 8 for side, first in zip(grey.shape, (top, left), strict=True))
        blocks = grey[top : top + 8 * height, left : left + 8 * width].reshape(height, 8, width, 8)
        coefficients = dctn(blocks, axes=(1, 3), norm="ortho")[:, 4:, :, 4:]
        zeros.append(np.mean(np.abs(coefficients) < LEAST_COEFFICIENT))
    usual = np.median(zeros)
    return (max(zeros) - usual) / (1.02 - usual)


def band_levels(image: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation (3,) of the noise in each band, as if it were white: with what is left of the scene, without.

    In a band, the power of the image is about s |K|^2 + sigma^2, where s is the power of the scene. The frequencies
    with the smallest and the largest |K|^2 give two equations.
    """
    height, width = image.shape[:2]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    mean = (image * window).sum((0, 1)) / window.sum()
    power = (np.abs(np.fft.rfft2((image - mean) * window, axes=(0, 1))) ** 2).mean(2) / (window**2).sum()
    # The window blurs the spectrum over neighbouring frequencies.
    transfer = np.abs(np.fft.rfft2(kernel, s=(height, width), axes=(0, 1))) ** 2
    transfer = uniform_filter(transfer.reshape(*transfer.shape[:2], -1).mean(2), 3, mode="wrap")
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    raw, levels = [], []
    for low, high in pairwise(BANDS):
        band = (frequency >= low) & (frequency < high)
        least, most = np.quantile(transfer[band], (SUPPRESSED, 1 - PASSED))
        suppressed, passed = band & (transfer <= least), band & (transfer >= most)
        # The median, which ignores what leaks through, is log(2) times the mean for noise.
        noise = np.median(power[suppressed]) / np.log(2)
        raw.append(noise)
        scene = max(power[passed].mean() - noise, 0) / max(transfer[passed].mean() - transfer[suppressed].mean(), 1e-12)
        levels.append(max(noise - scene * transfer[suppressed].mean(), 0.1 * noise))
    return np.sqrt(np.array(raw) + 1e-8), np.sqrt(np.array(levels) + 1e-8)


def _batch(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
