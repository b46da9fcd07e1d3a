"""The blur operator H, its adjoint H', and the kernel's transfer function.

H is the same-size cross-correlation with the stored kernel k, which is the same for all channels, or with one
kernel per channel. The centre of a kernel of h x w pixels is at ((h-1)//2, (w-1)//2). The network, its start x0, the
training data and the tests use this module; test sets alone are blurred by a direct sum (codes/data/degradation.py).
"""

from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor

from codes.models.paper.formats import at_least_float32, match_memory_format

Border = Literal["replicate", "circular", "zero"]
BORDERS: tuple[str, ...] = ("replicate", "circular", "zero")


def by_channel(kernel: Tensor) -> Tensor:
    """A kernel (B, h, w) as (B, 1, h, w), the same for all channels; one of (B, C, h, w) stays as it is.

    Raises ValueError for another shape and for an empty kernel.
    """
    if kernel.dim() not in (3, 4) or kernel.numel() == 0:
        raise ValueError(f"a kernel is (B, h, w) or (B, C, h, w), not {tuple(kernel.shape)}")
    return kernel if kernel.dim() == 4 else kernel[:, None]


def odd_sized(kernel: Tensor) -> Tensor:
    """Extend a kernel (..., h, w) to odd height and width without changing H.

    An even side gets a row of zeros on top or a column of zeros on the left, so that the centre
    ((h-1)//2, (w-1)//2) stays on the same weight.
    """
    height, width = kernel.shape[-2:]
    return nnf.pad(kernel, (1 - width % 2, 0, 1 - height % 2, 0))


def transfer_function(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Transfer function of the circular cross-correlation with `kernel`.

    kernel: (..., h, w); size: (H, W) of the image, not smaller than the kernel.
    Returns K (..., H, W//2+1), complex, such that irfft2(K * rfft2(x)) is x blurred with a
    circular border.
    """
    height, width = kernel.shape[-2:]
    centred = nnf.pad(kernel, (0, size[1] - width, 0, size[0] - height))
    centred = centred.roll((-((height - 1) // 2), -((width - 1) // 2)), dims=(-2, -1))
    return torch.fft.rfft2(at_least_float32(centred)).conj()


def pad(x: Tensor, kernel_size: tuple[int, int], border: Border) -> Tensor:
    """Extend x (B, C, H, W) to (B, C, H+h-1, W+w-1), the pixels that an h x w kernel reaches."""
    (height, width), (top, left) = kernel_size, centre(kernel_size)
    widths = (left, width - 1 - left, top, height - 1 - top)
    # Contiguous, because torch.compile fails in the backward pass of replicated borders for channels-last images.
    return nnf.pad(x, widths) if border == "zero" else nnf.pad(x.contiguous(), widths, mode=border)


def pad_adjoint(y: Tensor, kernel_size: tuple[int, int], border: Border) -> Tensor:
    """Adjoint of `pad`: (B, C, H+h-1, W+w-1) -> (B, C, H, W); border pixels are added to those they copy."""
    for dim, length, before in zip((-2, -1), kernel_size, centre(kernel_size), strict=True):
        size = y.shape[dim] - length + 1
        after = length - 1 - before
        core = y.narrow(dim, before, size)
        if border != "zero" and length > 1:
            core = core.clone()
            head, tail = y.narrow(dim, 0, before), y.narrow(dim, before + size, after)
            if border == "replicate":
                core.narrow(dim, 0, 1).add_(head.sum(dim, keepdim=True))
                core.narrow(dim, size - 1, 1).add_(tail.sum(dim, keepdim=True))
            else:
                core.narrow(dim, size - before, before).add_(head)
                core.narrow(dim, 0, after).add_(tail)
        y = core
    return y


def centre(kernel_size: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the kernel's centre."""
    return (kernel_size[0] - 1) // 2, (kernel_size[1] - 1) // 2


def inner(extended: Tensor, size: tuple[int, int], kernel_size: tuple[int, int]) -> Tensor:
    """The part (B, C, H, W) of `size` in the middle of an image that was extended for a kernel."""
    top, left = centre(kernel_size)
    return extended[..., top : top + size[0], left : left + size[1]]


def fast_length(length: int, multiple: int = 4, factors: tuple[int, ...] = (2, 3, 5, 7, 11)) -> int:
    """The least length of a fast Fourier transform that is not below `length`.

    It is `multiple` times a product of `factors`; transforms of odd lengths need twice the time.
    """
    quotient = -(-length // multiple)
    while True:
        rest = quotient
        for factor in factors:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return multiple * quotient
        quotient += 1


def pad_to_fast_size(image: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Replicate the border by the kernel's half sizes, and on the right and below up to a fast size.

    (B, C, H, W) -> (B, C, H', W') with H' >= H+h-1, W' >= W+w-1, products of 2, 3 and 5; undo with `inner`.
    """
    padded = pad(image, kernel_size, "replicate")
    height, width = padded.shape[-2:]
    rows, columns = (fast_length(length, multiple=1, factors=(2, 3, 5)) for length in (height, width))
    return nnf.pad(padded, (0, columns - width, 0, rows - height), mode="replicate")


def fft_filter(image: Tensor, spectrum: Tensor, fft_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The first (H', W') = `size` pixels of the cyclic product: (B, C, H, W) -> (B, C, H', W')."""
    product = torch.fft.rfft2(image, s=fft_size) * spectrum
    return torch.fft.irfft2(product, s=fft_size)[..., : size[0], : size[1]]


class _FFTFilter(torch.autograd.Function):
    """`fft_filter`, whose gradient is filtered with the conjugate spectrum.

    Autograd by itself would use complex transforms of twice the size.
    """

    @staticmethod
    def forward(ctx, image: Tensor, spectrum: Tensor, fft_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(spectrum)
        ctx.sizes = fft_size, image.shape[-2:]
        return fft_filter(image, spectrum, fft_size, size)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (spectrum,) = ctx.saved_tensors
        return fft_filter(gradient, spectrum.conj(), *ctx.sizes), None, None, None


class Blur:
    """H and H' for one batch of kernels and one image size.

    Results have the type of the kernel. It computes in float32, or in float64 for a kernel of that type.

    Args:
        kernel: (B, h, w), or (B, C, h, w) for a kernel per channel; B may be 1 for a whole batch.
        size: (H, W) of the images.
        border: What H sees beyond the image.
        exact_adjoint: False: H' is the adjoint of the zero-border blur for all borders, as in the released network.
            True: H' is the transpose of H.

    Raises:
        ValueError: An unknown border, an empty kernel, or a circular border with an image smaller than the kernel.
    """

    def __init__(
        self,
        kernel: Tensor,
        size: tuple[int, int],
        border: Border = "replicate",
        exact_adjoint: bool = False,
    ):
        if border not in BORDERS:
            raise ValueError(f"unknown border '{border}': one of {', '.join(BORDERS)}")
        self.kernel, self.dtype = at_least_float32(by_channel(kernel)), kernel.dtype
        self.size = (int(size[0]), int(size[1]))
        self.kernel_size = (int(kernel.shape[-2]), int(kernel.shape[-1]))
        if border == "circular" and any(k > s for k, s in zip(self.kernel_size, self.size, strict=True)):
            raise ValueError(f"a circular border needs an image of at least the kernel's {self.kernel_size}")
        self._padded_size = tuple(s + k - 1 for s, k in zip(self.size, self.kernel_size, strict=True))
        self.border = border
        self.adjoint_border: Border = border if exact_adjoint else "zero"
        # Long enough that the cyclic product equals the linear one, for H and for H'.
        self._fft_size = tuple(fast_length(length) for length in self._padded_size)
        self._spectrum = torch.fft.rfft2(self.kernel, s=self._fft_size)

    def __call__(self, x: Tensor) -> Tensor:
        """Hx: (B, C, H, W) -> (B, C, H, W)."""
        padded = pad(self._checked(x), self.kernel_size, self.border)
        blurred = self._apply(padded, self._spectrum.conj(), self.size)
        return match_memory_format(blurred.to(self.dtype), x)

    def adjoint(self, y: Tensor) -> Tensor:
        """H'y: (B, C, H, W) -> (B, C, H, W)."""
        y = self._checked(y)
        full = self._apply(y, self._spectrum, self._padded_size)
        folded = pad_adjoint(full, self.kernel_size, self.adjoint_border)
        return match_memory_format(folded.to(self.dtype), y)

    def _checked(self, image: Tensor) -> Tensor:
        if image.shape[-2:] != self.size:
            raise ValueError(f"this blur is for images of {self.size}, not {tuple(image.shape[-2:])}")
        return image.to(self.kernel.dtype)

    def _apply(self, image: Tensor, spectrum: Tensor, size: tuple[int, int]) -> Tensor:
        # If the kernel has a gradient, autograd has to see every use of the spectrum.
        apply = fft_filter if spectrum.requires_grad else _FFTFilter.apply
        return apply(image, spectrum, self._fft_size, size)
