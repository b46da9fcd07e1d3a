"""Restoration in linear light: blur happens there, while most files hold values after a tone curve."""

from typing import Literal, get_args

import numpy as np

from codes.data.camera import decoded, encoded

# auto is none: a file does not say where its blur happened (docs/deblurring.md has the measurement).
Gamma = Literal["auto", "none", "srgb", "2.2"]
GAMMAS = get_args(Gamma)


def to_light(values: np.ndarray, gamma: Gamma) -> np.ndarray:
    """Linear light for the values of a file, both float32 with white at 1."""
    if gamma == "srgb":
        return decoded(values)
    return np.maximum(values, 0) ** np.float32(2.2) if gamma == "2.2" else values


def to_values(light: np.ndarray, gamma: Gamma) -> np.ndarray:
    """The inverse of `to_light`; negative light is black."""
    if gamma == "srgb":
        return encoded(light)
    return np.maximum(light, 0) ** np.float32(1 / 2.2) if gamma == "2.2" else light


def noise_in_light(sigma: float, gamma: Gamma) -> float:
    """The standard deviation of noise in linear light at middle grey, for that in a file's values."""
    step = 0.01
    below, above = to_light(np.array([0.5 - step, 0.5 + step]), gamma)
    return sigma * float(above - below) / (2 * step)
