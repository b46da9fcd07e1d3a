"""The blur operator: against scipy, its adjoint, and kernels of all shapes."""

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch

from codes.models.paper.blur import BORDERS, Blur, fast_length

KERNEL_SIZES = [(5, 5), (7, 3), (4, 4), (6, 3), (1, 9), (8, 1), (1, 1), (13, 12)]
SCIPY_MODES = {"replicate": "nearest", "circular": "wrap", "zero": "constant"}


def image_and_kernel(kernel_size, batch=2, size=(17, 22)):
    generator = torch.Generator().manual_seed(sum(kernel_size))
    x = torch.randn(batch, 3, *size, dtype=torch.float64, generator=generator)
    kernel = torch.rand(batch, *kernel_size, dtype=torch.float64, generator=generator)
    return x, kernel / kernel.sum((1, 2), keepdim=True)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_equals_scipy(kernel_size, border):
    x, kernel = image_and_kernel(kernel_size)
    blurred = Blur(kernel, x.shape[-2:], border)(x)
    # scipy centres an even side one pixel later; `origin` moves it to ((h-1)//2, (w-1)//2).
    origin = [0 if side % 2 else -1 for side in kernel_size]
    for image, k, result in zip(x, kernel, blurred, strict=True):
        for channel, blurred_channel in zip(image, result, strict=True):
            expected = scipy.ndimage.correlate(channel.numpy(), k.numpy(), mode=SCIPY_MODES[border], origin=origin)
            np.testing.assert_allclose(blurred_channel, expected, atol=1e-12)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_adjoint_identity(kernel_size, border):
    """<Hx, y> = <x, H'y>."""
    x, kernel = image_and_kernel(kernel_size)
    y = torch.randn_like(x)
    H = Blur(kernel, x.shape[-2:], border, exact_adjoint=True)
    torch.testing.assert_close((H(x) * y).sum(), (x * H.adjoint(y)).sum())


def test_released_adjoint_is_that_of_the_zero_border():
    x, kernel = image_and_kernel((5, 7))
    y = torch.randn_like(x)
    released = Blur(kernel, x.shape[-2:], "replicate")
    zero = Blur(kernel, x.shape[-2:], "zero")
    torch.testing.assert_close(released.adjoint(y), zero.adjoint(y))
    assert not torch.allclose((released(x) * y).sum(), (x * released.adjoint(y)).sum())


def test_one_kernel_serves_a_batch_in_half_precision():
    x, kernel = image_and_kernel((7, 7))
    H = Blur(kernel[:1], x.shape[-2:])
    torch.testing.assert_close(H(x), Blur(kernel[:1].expand(2, -1, -1), x.shape[-2:])(x))
    assert H(x.bfloat16()).dtype == kernel.dtype


def test_gradients():
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    kernel = torch.rand(1, 3, 4, dtype=torch.float64, requires_grad=True)

    def there_and_back(x, kernel):
        H = Blur(kernel, (5, 6), exact_adjoint=True)
        return H(x), H.adjoint(x), Blur(kernel, (5, 6)).adjoint(x)

    assert torch.autograd.gradcheck(there_and_back, (x, kernel))


def test_fast_length():
    for length in range(1, 700):
        assert fast_length(length) == 4 * scipy.fft.next_fast_len(-(-length // 4))
        assert fast_length(length, multiple=1, factors=(2, 3, 5)) == scipy.fft.next_fast_len(length, real=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"border": "mirror"}, "unknown border 'mirror'"),
        ({"border": "circular", "size": (4, 4)}, "circular border needs"),
        ({"kernel": torch.ones(5, 5)}, "a kernel is"),
        ({}, "for images of"),
    ],
)
def test_misuse_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Blur(**{"kernel": torch.ones(1, 5, 5), "size": (8, 8)} | arguments)(torch.zeros(1, 1, 9, 8))
