"""PSNR and SSIM of 8-bit images, computed as for the paper's tables."""

from typing import NamedTuple

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from codes.utils.errors import UserError

SSIM_WINDOW = 11
_BT601 = np.array([65.481, 128.553, 24.966]) / 255


class Quality(NamedTuple):
    """PSNR in dB and SSIM, of all channels and (_y) of the luma Y."""

    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float


def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601, studio range 16 to 235, not rounded (MATLAB's rgb2ycbcr).

    (H, W, 3) or (H, W, 1) of 0 to 255 -> (H, W) float64.
    """
    rgb = np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float64)
    return 16 + rgb @ _BT601


def quality(truth: np.ndarray, restored: np.ndarray, crop_border: int = 0) -> Quality:
    """Compare two uint8 images (H, W, C), without `crop_border` pixels at each side.

    SSIM (Wang et al., 2004): Gaussian window of 11x11 pixels and sigma 1.5, valid region, mean of the channels.
    Raises UserError if the shapes differ or an image is smaller than the window.
    """
    if truth.shape != restored.shape:
        raise UserError(f"shapes differ: ground truth {truth.shape}, restored {restored.shape}")
    if crop_border:
        inner = slice(crop_border, -crop_border)
        truth, restored = truth[inner, inner], restored[inner, inner]
    if min(truth.shape[:2]) < SSIM_WINDOW:
        raise UserError(f"SSIM needs at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not {truth.shape[:2]}")
    pairs = ((truth, restored), (luma(truth)[..., None], luma(restored)[..., None]))
    return Quality(*(measure(*pair) for pair in pairs for measure in (psnr, _ssim)))


def psnr(truth: np.ndarray, restored: np.ndarray) -> float:
    """PSNR in dB of two uint8 images of the same shape; infinite if they are equal."""
    if np.array_equal(truth, restored):
        return float("inf")
    return float(peak_signal_noise_ratio(truth, restored, data_range=255))


def _ssim(truth: np.ndarray, restored: np.ndarray) -> float:
    return float(
        structural_similarity(
            truth,
            restored,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )
