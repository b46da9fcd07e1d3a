"""Kernels as a user names them: a file, or a specification such as `motion:15,30`."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from codes.data.kernel_generator import delta, disk, gaussian, motion
from codes.data.kernels import LARGEST, read_kernel
from codes.utils.errors import UserError

SPECIFICATIONS = "motion:LENGTH,ANGLE, gaussian:SIGMA or disk:RADIUS"
# Longest motion, largest sigma or radius, in pixels.
_WIDEST = (LARGEST - 3) // 8


def kernel_of(text: str) -> np.ndarray:
    """The kernel of a file or a specification: float64 (h, w) or (h, w, 3), odd sides, sum 1 (of each channel).

    motion:LENGTH,ANGLE is a straight motion over LENGTH pixels (up to 1: a single pixel), ANGLE in degrees,
    counter-clockwise from the horizontal. gaussian:SIGMA has a standard deviation of SIGMA pixels. disk:RADIUS is an
    out-of-focus disk. Raises UserError for what is neither, and as `read_kernel` does.
    """
    kind, colon, numbers = text.partition(":")
    if not colon or kind not in _KINDS or Path(text).exists():
        if not Path(text).exists():
            raise UserError(f"--kernel {text}: no such file; without a file, write {SPECIFICATIONS}")
        return read_kernel(text, per_channel=True)
    count, make = _KINDS[kind]
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise UserError(f"--kernel {text}: write {SPECIFICATIONS}, in pixels and degrees")
    if not 0 <= values[0] <= _WIDEST:
        raise UserError(f"--kernel {text}: 0 to {_WIDEST} pixels are possible")
    return make(*values)


def _motion(length: float, angle: float) -> np.ndarray:
    return delta(1) if length <= 1 else motion(length, angle)


def _gaussian(sigma: float) -> np.ndarray:
    return gaussian(2 * math.ceil(4 * sigma) + 1, max(sigma, 1e-3))


def _disk(radius: float) -> np.ndarray:
    return disk(2 * math.ceil(radius + 0.5) - 1, radius)


_KINDS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "motion": (2, _motion),
    "gaussian": (1, _gaussian),
    "disk": (1, _disk),
}
