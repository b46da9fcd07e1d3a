"""Does a kernel explain the blur of an image, and as it is or rotated by 180 degrees?

A kernel file does not say whether it was made for convolution or for cross-correlation, but the image shows it. If it
is restored with the kernel the wrong way round, its power spectrum is the same but the phases are wrong, and edges
become ripples. The right result has the sparser gradients. With a kernel of another image neither result is sparser,
and both leave the range [0, 1].

The constants were fitted on held-out training images; the script is in commit 3127155.
"""

import math
from contextlib import suppress
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import minimum_filter
from scipy.special import expit

from codes.data.kernels import rotated
from codes.data.triples import TripleDataset
from codes.models.classical import HyperLaplacian
from codes.utils.errors import UserError, warn

# Side in pixels of the part of an image that is examined: the one with the most edges.
LARGEST_SIDE = 1024
# Pixels from this value on are left out. This is half a grey level below CLIPPED of inference/gaps.py, because the
# constants below were fitted with it.
NEARLY_CLIPPED = 254 / 255
# A kernel is symmetric if it differs from its rotation by less than this, relative to its norm.
SYMMETRIC = 0.02
# Data weight of the hyper-Laplacian restoration, by noise level.
DATA_WEIGHT = {0.003: 14000.0, 0.01: 2900.0, 0.03: 430.0, 0.05: 200.0}
_EXPONENT = 2 / 3
# The log-odds that the sign of the contrast of n gradients is right are |contrast| c[0] n / (n + c[1]).
CERTAINTY = (156, 3.32e04)
# With fewer gradients the sign of the contrast is random, as on crops of 32 pixels.
FEWEST_GRADIENTS = 2000
# A kernel is rotated only if this is at least this certain.
SURE = 0.75
# A kernel explains an image if c[0] log(|contrast| + 0.005) + c[1] log(overshoot + 1e-5) + c[2] > 0.
EXPLAINED = (2.29, -0.595, 4.26)
# A symmetric kernel, which has no contrast, explains an image up to this overshoot.
MOST_OVERSHOOT = 0.0031


class Verdict(NamedTuple):
    """Whether the kernel has to be rotated, how sure that is (0.5 to 1), and whether it explains the image at all.

    If certainty is below SURE the image does not show the orientation, and the kernel is used as it is.
    """

    rotated: bool
    certainty: float
    explains: bool
    symmetric: bool


@torch.inference_mode()
def judge(image: np.ndarray, kernel: np.ndarray) -> Verdict:
    """How a kernel (h, w) or (h, w, 3), odd sides, fits an image (H, W, C), from 0 to 1."""
    if kernel.ndim == 3:  # one channel shows as much as three
        image, kernel = image[..., 1:2], kernel[..., 1]
    part = image[_busiest(image.mean(2), kernel.shape)]
    sparseness, overshoot, count = _restored(part, kernel)
    if np.linalg.norm(kernel - rotated(kernel)) <= SYMMETRIC * np.linalg.norm(kernel):
        return Verdict(False, 1.0, overshoot <= MOST_OVERSHOOT, True)
    other_sparseness, other_overshoot, _ = _restored(part, rotated(kernel))
    contrast = sparseness - other_sparseness
    overshoot = overshoot if contrast >= 0 else other_overshoot
    slope, few = CERTAINTY
    certainty = float(expit(slope * abs(contrast) * count / (count + few))) if count >= FEWEST_GRADIENTS else 0.5
    features = (math.log(abs(contrast) + 0.005), math.log(overshoot + 1e-5), 1)
    return Verdict(contrast < 0 and certainty >= SURE, certainty, float(np.dot(EXPLAINED, features)) > 0, False)


def _restored(image: np.ndarray, kernel: np.ndarray) -> tuple[float, float, int]:
    """What a restoration of an image (H, W, C) with a kernel (h, w) shows, far from borders and clipped pixels.

    Returns the sparseness of its gradients (log of the ratio of their 2-norm to their p-norm), the mean amount by
    which it leaves [0, 1], and the number of gradients.
    """
    y = torch.from_numpy(image.mean(2, dtype=np.float32))[None, None]
    x = HyperLaplacian(DATA_WEIGHT)(y, torch.from_numpy(kernel.astype(np.float32))[None])[0, 0].numpy()
    inner = tuple(  # without half the kernel's size at each border if enough remains
        slice(margin, length - margin)
        for margin, length in ((min(k // 2, n // 4), n) for k, n in zip(kernel.shape, x.shape, strict=True))
    )
    gradients = np.concatenate([np.diff(x[inner], axis=axis).ravel() for axis in (0, 1)])
    gradients = np.maximum(np.abs(gradients), 1e-6) if gradients.size else np.full(1, 1e-6)
    sparseness = np.log(np.square(gradients).mean()) / 2 - np.log((gradients**_EXPONENT).mean()) / _EXPONENT
    plain = np.zeros(x.shape)
    plain[inner] = minimum_filter(image.max(2) < NEARLY_CLIPPED, kernel.shape)[inner]
    plain = plain if plain.mean() > 0.02 else np.ones(x.shape)
    return float(sparseness), float(np.average(np.abs(x - x.clip(0, 1)), weights=plain)), gradients.size


def _busiest(grey: np.ndarray, kernel: tuple[int, int]) -> tuple[slice, slice]:
    """The window of an image (H, W), at most LARGEST_SIDE pixels a side, that has the most edges."""
    axes = []
    for length, k in zip(grey.shape, kernel, strict=True):
        part = min(length, max(LARGEST_SIDE, 4 * k))
        starts = sorted({*range(0, length - part, max(part // 2, 1)), length - part})  # windows overlap by half
        axes.append([slice(start, start + part) for start in starts])

    def edges(window: tuple[slice, slice]) -> float:
        sample = grey[window][::2, ::2]
        return float(np.abs(np.diff(sample, axis=0)).sum() + np.abs(np.diff(sample, axis=1)).sum()) / sample.size

    return max(product(*axes), key=edges)


def warn_if_rotated(name: str, dataset: TripleDataset) -> None:
    """Warn if the first two kernels of a test set explain their images only when they are rotated."""
    verdicts = []
    for index in range(min(2, len(dataset))):
        with suppress(UserError):  # files that cannot be read are reported later
            triple = dataset[index]
            verdicts.append(judge(triple.blurry, triple.kernel))
    if verdicts and all(verdict.rotated for verdict in verdicts):
        warn(
            f"{name}: the kernels explain the blur only when rotated by 180 degrees; if they were made for "
            "convolution, set kernel_convention: convolution"
        )
