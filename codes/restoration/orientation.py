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
from torch import Tensor

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


class Evidence(NamedTuple):
    """What a restoration with the kernel both ways shows.

    contrast: by how much the gradients of the result are sparser with the kernel as it is than with the rotated one.
    overshoot: mean amount by which the better result leaves [0, 1]. gradients: their number.
    """

    contrast: float
    overshoot: float
    gradients: int


class Verdict(NamedTuple):
    """Whether the kernel has to be rotated, how sure that is (0.5 to 1), and whether it explains the image at all.

    If certainty is below SURE the image does not show the orientation, and the kernel is used as it is.
    """

    rotated: bool
    certainty: float
    explains: bool
    symmetric: bool


def judge(image: np.ndarray, kernel: np.ndarray) -> Verdict:
    """How a kernel (h, w) or (h, w, 3), odd sides, fits an image (H, W, C), from 0 to 1."""
    evidence = gather(image, kernel)
    if is_symmetric(kernel):
        return Verdict(False, 1.0, evidence.overshoot <= MOST_OVERSHOOT, True)
    sure = certainty(evidence.contrast, evidence.gradients)
    return Verdict(evidence.contrast < 0 and sure >= SURE, sure, explains(evidence), False)


def warn_if_rotated(name: str, dataset: TripleDataset, count: int = 3) -> bool:
    """Warn if the first kernels of a test set explain its images only when they are rotated; returns if so."""
    verdicts = []
    for index in range(min(count, len(dataset))):
        with suppress(UserError):  # files that cannot be read are reported later
            triple = dataset[index]
            verdicts.append(judge(triple.blurry, triple.kernel))
    turned = sum(verdict.rotated for verdict in verdicts)
    as_is = sum(v.certainty >= SURE and not v.rotated and not v.symmetric for v in verdicts)
    if as_is or not turned or turned < min(2, len(verdicts)):
        return False
    warn(
        f"{name}: the kernels explain the blur only when rotated by 180 degrees; if they were made for convolution, "
        "set kernel_convention: convolution"
    )
    return True


def certainty(contrast: float, gradients: int) -> float:
    """How likely the sign of a contrast from this number of gradients is right."""
    if gradients < FEWEST_GRADIENTS:
        return 0.5
    slope, few = CERTAINTY
    return 1 / (1 + math.exp(-slope * abs(contrast) * gradients / (gradients + few)))


def explains(evidence: Evidence) -> bool:
    """True if a kernel that is not symmetric explains its image."""
    of_contrast, of_overshoot, constant = EXPLAINED
    score = of_contrast * math.log(abs(evidence.contrast) + 0.005)
    return score + of_overshoot * math.log(evidence.overshoot + 1e-5) + constant > 0


def is_symmetric(kernel: np.ndarray) -> bool:
    """True if a kernel is the same both ways."""
    return bool(np.linalg.norm(kernel - rotated(kernel)) <= SYMMETRIC * np.linalg.norm(kernel))


@torch.inference_mode()
def gather(image: np.ndarray, kernel: np.ndarray) -> Evidence:
    """Restore an image (H, W, C), from 0 to 1, with a kernel (h, w) or (h, w, 3), odd sides, both ways.

    A symmetric kernel is tried once.
    """
    if kernel.ndim == 3:  # one channel shows as much as three
        image, kernel = image[..., 1:2], kernel[..., 1]
    part = image[_busiest(image.mean(2), kernel.shape)]
    y = torch.from_numpy(part.mean(2, dtype=np.float32))[None, None]
    plain = _unclipped(part, kernel.shape)
    restore = HyperLaplacian(DATA_WEIGHT)
    results = []
    for k in (kernel,) if is_symmetric(kernel) else (kernel, rotated(kernel)):
        x = restore(y, torch.from_numpy(np.ascontiguousarray(k, dtype=np.float32))[None])[0, 0]
        overshoot = ((-x).clamp(min=0) + (x - 1).clamp(min=0)) * plain
        gradients = _gradients(x[_inner(x.shape, kernel.shape)])
        results.append((_sparseness(gradients), float(overshoot.sum() / plain.sum())))
    (as_is, overshoot), (turned, other) = results[0], results[-1]
    return Evidence(as_is - turned, overshoot if as_is >= turned else other, gradients.numel())


def _gradients(x: Tensor) -> Tensor:
    """Absolute differences of neighbouring pixels (H, W), at least 1e-6; a single value of 1e-6 for a single pixel."""
    differences = torch.cat([(x[1:] - x[:-1]).flatten(), (x[:, 1:] - x[:, :-1]).flatten()]).abs()
    return differences.clamp(min=1e-6) if differences.numel() else torch.full((1,), 1e-6)


def _sparseness(gradients: Tensor) -> float:
    """Log of the ratio of the gradients' 2-norm to their p-norm."""
    return float(gradients.square().mean().log() / 2 - gradients.pow(_EXPONENT).mean().log() / _EXPONENT)


def _inner(size: tuple[int, int], kernel: tuple[int, int]) -> tuple[slice, slice]:
    """The inner part of an image, without half the kernel's size at each border if enough remains."""
    margins = (min(half // 2, length // 4) for half, length in zip(kernel, size, strict=True))
    return tuple(slice(m, length - m) for m, length in zip(margins, size, strict=True))


def _unclipped(image: np.ndarray, kernel: tuple[int, int]) -> Tensor:
    """A mask (H, W), 0 within the kernel's reach of clipped pixels and of the border; all 1 if little would be left."""
    plain = minimum_filter((image.max(2) < NEARLY_CLIPPED).astype(np.float32), kernel)
    inner = np.zeros_like(plain)
    inner[_inner(plain.shape, kernel)] = 1
    plain = plain * inner
    return torch.from_numpy(plain if plain.mean() > 0.02 else np.ones_like(plain))


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
