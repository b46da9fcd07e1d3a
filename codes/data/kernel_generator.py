"""Synthetic kernels: camera shake (random trajectories), straight motion, Gaussian, disk and delta."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

# Time steps of a camera-shake trajectory, and points drawn for each step.
_STEPS = 400
_SUPERSAMPLING = 8


def camera_shake(random: np.random.RandomState, size: int, width: float | None = None) -> np.ndarray:
    """One camera-shake kernel (size, size), float64, sum 1, its centre of mass near the middle.

    The hand is modelled as a mass on a damped spring that noise and occasional jerks push. The trajectory is smooth
    and fills most of the support; where it is slow, the exposure is longer and the kernel brighter. `size` is odd.
    width: standard deviation of the line's cross-section in pixels, random between a thin and a soft line if None.
    """
    inertia = random.uniform(0.9, 0.995)
    jerk_rate = random.choice([0.0, 0.005, 0.02])
    pull = 10 ** random.uniform(-4, -2)
    anisotropy = random.uniform(0.25, 1, 2)
    position, velocity = np.zeros(2), random.standard_normal(2)
    path = np.empty((_STEPS, 2))
    for step in range(_STEPS):
        push = anisotropy * random.standard_normal(2)
        if random.uniform() < jerk_rate:
            push += 20 * random.standard_normal(2)
        velocity = inertia * velocity + (1 - inertia) * push - pull * position
        position = position + velocity
        path[step] = position
    angle = random.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    path = path @ turn.T
    if width is None:
        width = min(random.choice([0.3, 0.5, 0.8, 1.2]), size / 25)
    # The longer side of the path's box fills a random fraction of the support.
    margin = 2 * width + 1
    extent = random.uniform(0.55, 1.0) * max(size - 2 * margin, 1.0)
    low, high = path.min(0), path.max(0)
    path = (path - (low + high) / 2) * extent / max((high - low).max(), 1e-9)
    kernel = _exposed(path, size, width)
    if random.uniform() < 0.3:
        # Kernels measured from photographs, such as Levin's, have speckles.
        kernel *= random.uniform(0.4, 1.6, kernel.shape)
    return kernel / kernel.sum()


def _exposed(path: np.ndarray, size: int, width: float) -> np.ndarray:
    """Draw a path (steps, 2), in pixels from the middle, at equal time intervals with a Gaussian pen."""
    times = np.linspace(0, len(path) - 1, len(path) * _SUPERSAMPLING)
    dense = np.stack([np.interp(times, np.arange(len(path)), path[:, axis]) for axis in (0, 1)], 1)
    kernel = gaussian_filter(_points(dense, size), width, mode="constant")
    kernel[kernel < 1e-3 * kernel.max()] = 0
    return kernel


def _points(points: np.ndarray, size: int) -> np.ndarray:
    """Draw points (n, 2), row and column in pixels from the middle, each distributed over its 4 nearest pixels."""
    place = np.clip(points + (size - 1) / 2, 0, size - 1 - 1e-6)
    corner = place.astype(int)
    offset = place - corner
    kernel = np.zeros((size, size))
    for row in (0, 1):
        for column in (0, 1):
            amount = np.abs(1 - row - offset[:, 0]) * np.abs(1 - column - offset[:, 1])
            cell = np.minimum(corner + (row, column), size - 1)
            np.add.at(kernel, (cell[:, 0], cell[:, 1]), amount)
    return kernel


def motion(length: float, angle: float) -> np.ndarray:
    """A straight motion of constant speed over `length` pixels, anti-aliased, on a square of odd side, sum 1.

    angle: in degrees, counter-clockwise; 0 is to the right, 90 upwards. The kernel is symmetric, so convolution and
    correlation with it are the same.
    """
    direction = np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])  # rows grow downwards
    steps = max(1, round(length * 16))
    along = ((np.arange(steps) + 0.5) / steps - 0.5) * length
    kernel = _points(along[:, None] * direction, 2 * math.ceil(length / 2) + 3)
    kernel = np.where(kernel > 1e-9 * kernel.max(), kernel, 0)
    kernel = kernel / kernel.sum()
    while len(kernel) > 1 and not (kernel[[0, -1]].any() or kernel[:, [0, -1]].any()):
        kernel = kernel[1:-1, 1:-1]  # an empty border
    return kernel


def gaussian(size: int, sigma: float) -> np.ndarray:
    """An isotropic Gaussian of `sigma` pixels on (size, size), sum 1."""
    axis = np.arange(size) - (size - 1) / 2
    profile = np.exp(-0.5 * (axis / sigma) ** 2)
    kernel = np.outer(profile, profile)
    return kernel / kernel.sum()


def disk(size: int, radius: float) -> np.ndarray:
    """An out-of-focus disk of `radius` pixels on (size, size) with an anti-aliased edge, sum 1."""
    axis = np.arange(size) - (size - 1) / 2
    kernel = np.clip(radius + 0.5 - np.hypot(axis[:, None], axis[None]), 0, 1)
    return kernel / kernel.sum()


def delta(size: int) -> np.ndarray:
    """1 in the middle of (size, size), size odd; it leaves an image as it is."""
    kernel = np.zeros((size, size))
    kernel[size // 2, size // 2] = 1
    return kernel
