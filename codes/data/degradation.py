"""The forward model y = Hx + n on numpy images (float64), as the test sets are made."""

import zlib

import numpy as np
import torch

from codes.data.images import to_8bit
from codes.models.paper.blur import pad


def blurred(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Hx with a replicate border, summed weight by weight in float64: the same on every machine, which an FFT is not.

    image: (H, W, C) in [0, 1]; kernel: (h, w), odd sides, sum 1. Returns float64 (H, W, C).
    """
    height, width = image.shape[:2]
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float64)).permute(2, 0, 1)[None]
    padded, weights = pad(x, kernel.shape, "replicate"), torch.from_numpy(kernel)
    result = torch.zeros_like(x)
    for row, column in weights.nonzero().tolist():
        result.addcmul_(padded[..., row : row + height, column : column + width], weights[row, column])
    return result[0].permute(1, 2, 0).numpy()


def seed_of(*parts: object, seed: int = 0) -> int:
    """A 32-bit seed from names and levels, so that noise does not depend on the order of the files."""
    return zlib.crc32("/".join(map(str, (seed, *parts))).encode())


def with_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Add Gaussian noise of standard deviation `sigma` (of the full range), clip, round to uint8."""
    # RandomState, because its stream is frozen for all future versions of numpy.
    noise = np.random.RandomState(seed).standard_normal(image.shape)
    return to_8bit(image + sigma * noise)
