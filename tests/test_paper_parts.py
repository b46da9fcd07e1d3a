"""Filter banks against torch's convolutions, and x0 against numpy in float64 by the description of the release."""

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

from codes.models.paper.filters import Filters
from codes.models.paper.initialisation import INITIALISATIONS

paper = INITIALISATIONS["paper"]()


@pytest.mark.parametrize("size", [(33, 46), (1, 1), (5, 6)])
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (3, 5)])
def test_the_filters_adjoint_is_their_transpose(channels, filters, size):
    F = Filters(channels, filters).double()
    x, a = torch.randn(2, channels, *size).double(), torch.randn(2, filters, *size).double()
    torch.testing.assert_close(F(x), nnf.conv2d(x, F.weight, padding=3))
    torch.testing.assert_close((F(x) * a).sum(), (x * F.adjoint(a)).sum())


def test_filters_stay_in_float32_under_autocast():
    F = Filters(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert F(torch.rand(1, 3, 8, 8)).dtype == F.adjoint(torch.rand(1, 4, 8, 8).bfloat16()).dtype == torch.float32


def numpy_initial(y: np.ndarray, k: np.ndarray) -> np.ndarray:
    """x0 of one channel y (H, W) and an odd kernel k (h, w), full complex transforms, float64."""
    h, w = k.shape
    top, left = (h - 1) // 2, (w - 1) // 2
    y = np.pad(y, ((top, h - 1 - top), (left, w - 1 - left)), mode="edge")
    H, W = y.shape

    def otf(psf: np.ndarray, centre: tuple[int, int]) -> np.ndarray:
        padded = np.zeros((H, W))
        padded[: psf.shape[0], : psf.shape[1]] = psf
        return np.fft.fft2(np.roll(padded, (-centre[0], -centre[1]), (0, 1)))

    rotated = k[::-1, ::-1]
    K = otf(rotated, (h - 1 - top, w - 1 - left))
    weights = []
    for axis, n in ((1, H), (0, W)):
        profile = rotated.sum(axis)
        z = np.real(np.fft.ifft(np.abs(np.fft.fft(profile, n - 1)) ** 2))
        z = np.append(z, z[0])
        weights.append(1 - z / z.max())
    a = np.outer(*weights)
    for _ in range(3):
        y = a * y + (1 - a) * np.real(np.fft.ifft2(K * np.fft.fft2(y)))
    gradients = sum(np.abs(otf(d, (0, 0))) ** 2 for d in (np.array([[-1, 1]]), np.array([[-1], [1]])))
    x = np.real(np.fft.ifft2(np.conj(K) * np.fft.fft2(y) / (np.abs(K) ** 2 + 0.002 * gradients)))
    return x[top : top + H - h + 1, left : left + W - w + 1]


@pytest.mark.parametrize("kernel_size", [(15, 15), (7, 11), (1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("image_size", [(40, 53), (64, 48)])
def test_x0_equals_numpy_in_float64(random, kernel_size, image_size):
    y = random.uniform(size=(2, 3, *image_size))
    k = random.uniform(size=(2, *kernel_size)) ** 4
    k /= k.sum((1, 2), keepdims=True)
    x0 = paper(torch.from_numpy(y), torch.from_numpy(k)).numpy()
    for image, kernel, result in zip(y, k, x0, strict=True):
        for channel, expected in zip(image, result, strict=True):
            np.testing.assert_allclose(expected, numpy_initial(channel, kernel), atol=1e-9)
