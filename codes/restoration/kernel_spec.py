"""Kernels as a user names them: a file, or a specification such as `motion:15,30`."""

import math
import os

import numpy as np

from codes.data.kernel_generator import delta, disk, gaussian, motion
from codes.data.kernels import LARGEST, read_kernel
from codes.utils.errors import UserError

SPECIFICATIONS = "motion:LENGTH,ANGLE, gaussian:SIGMA or disk:RADIUS"
# Longest motion, largest sigma or radius, in pixels.
_WIDEST = (LARGEST - 3) // 8


def parse_kernel(text: str) -> np.ndarray:
    """The kernel of a file or a specification: float64 (h, w) or (h, w, 3), odd sides, sum 1 (of each channel).

    motion:LENGTH,ANGLE is a straight motion over LENGTH pixels (up to 1: a single pixel), ANGLE in degrees,
    counter-clockwise from the horizontal. gaussian:SIGMA has a standard deviation of SIGMA pixels. disk:RADIUS is an
    out-of-focus disk. Raises UserError for anything else, and as `read_kernel` does.
    """
    return read_kernel(text, per_channel=True) if os.path.exists(text) else parse_specification(text)


def parse_specification(text: str) -> np.ndarray:
    """The kernel of a specification, never of a file; see `parse_kernel`."""
    kind, _, numbers = text.partition(":")
    if ":" not in text or kind not in ("motion", "gaussian", "disk"):
        raise UserError(f"kernel {text}: no such file; without a file, write {SPECIFICATIONS}")
    try:
        size, *angle = (float(number) for number in numbers.split(","))
    except ValueError:
        size, angle = math.nan, []
    if len(angle) != (kind == "motion") or not all(map(math.isfinite, (size, *angle))):
        raise UserError(f"kernel {text}: write {SPECIFICATIONS}, in pixels and degrees")
    if not 0 <= size <= _WIDEST:
        name = {"motion": "LENGTH", "gaussian": "SIGMA", "disk": "RADIUS"}[kind]
        raise UserError(f"kernel {text}: {name} has to be from 0 to {_WIDEST} pixels")
    if kind == "motion":
        return motion(size, *angle) if size > 1 else delta(1)
    if kind == "gaussian":
        return gaussian(2 * math.ceil(4 * size) + 1, max(size, 1e-3))
    return disk(2 * math.ceil(size + 0.5) - 1, size)
