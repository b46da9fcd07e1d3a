"""The start x0 of the iteration (spec of the paper: edge taper, then a regularised inverse filter)."""

from collections.abc import Callable

import torch
import torch.nn.functional as nnf
from scipy.fft import next_fast_len
from torch import Tensor, nn

from codes.models.paper.blur import Blur, centre, pad, transfer_function
from codes.models.paper.layout import laid_out_as
from codes.models.tiny.noise import LEAST_SIGMA, estimate_noise
from codes.utils.registry import Registry

INITIALISATIONS: Registry[type[nn.Module]] = Registry("initialisation")


def gradient_power(size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """|Dx|^2 + |Dy|^2, the power spectrum of the forward differences [-1 1] and its transpose.

    Returns (H, W//2+1) for a real transform of an image of size (H, W).
    """
    rows = torch.fft.fftfreq(size[0], device=device, dtype=dtype)[:, None]
    columns = torch.fft.rfftfreq(size[1], device=device, dtype=dtype)[None]
    return 4 - 2 * torch.cos(2 * torch.pi * rows) - 2 * torch.cos(2 * torch.pi * columns)


def edge_taper(
    y: Tensor, kernel: Tensor, times: int = 3, circular_blur: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Blend the image's border with its circular blur, so that opposite borders meet smoothly.

    y: (B, C, H, W); kernel: (B, h, w) or (B, C, h, w). Values are not clipped.
    circular_blur: the circular blur by `kernel`, where a caller has it at hand.
    """
    weights = []
    for axis, size in ((-1, y.shape[-2]), (-2, y.shape[-1])):
        profile = kernel.sum(axis)
        power = torch.fft.rfft(profile, n=max(size - 1, 1)).abs().square()
        correlation = torch.fft.irfft(power, n=max(size - 1, 1))
        correlation = torch.cat([correlation, correlation[..., :1]], -1)[..., :size]
        weights.append(1 - correlation / correlation.amax(-1, keepdim=True))
    alpha = weights[0][..., :, None] * weights[1][..., None, :]
    alpha = alpha if kernel.dim() == 4 else alpha[:, None]
    blur = circular_blur or Blur(kernel, y.shape[-2:], border="circular")
    for _ in range(times):
        y = alpha * y + (1 - alpha) * blur(y)
    return y


def extend(blurry: Tensor, kernel: Tensor) -> Tensor:
    """Replicate the border by the kernel's half sizes and taper it.

    Gives methods that assume a circular border an image that does not ring.
    (B, C, H, W) -> (B, C, H+h-1, W+w-1); undo with `crop`.
    """
    return edge_taper(pad(blurry, kernel.shape[-2:], "replicate"), kernel)


def crop(extended: Tensor, kernel: Tensor) -> Tensor:
    """Undo `extend`'s padding: (B, C, H+h-1, W+w-1) -> (B, C, H, W)."""
    height, width = kernel.shape[-2:]
    return inner(extended, (extended.shape[-2] - height + 1, extended.shape[-1] - width + 1), (height, width))


def inner(extended: Tensor, size: tuple[int, int], kernel_size: tuple[int, int]) -> Tensor:
    """The image (B, C, H, W) of `size` within one that was extended for a kernel."""
    top, left = centre(kernel_size)
    return extended[..., top : top + size[0], left : left + size[1]]


def pad_to_fast_size(image: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Replicate the border by the kernel's half sizes, below and on the right up to a size of fast transforms.

    (B, C, H, W) -> (B, C, H', W') with H' >= H+h-1, W' >= W+w-1; undo with `inner`.
    """
    padded = pad(image, kernel_size, "replicate")
    height, width = padded.shape[-2:]
    rows, columns = (next_fast_len(length, real=True) for length in (height, width))
    return nnf.pad(padded, (0, columns - width, 0, rows - height), mode="replicate")


def inverse_filter(extended: Tensor, kernel: Tensor, weight: float | Tensor) -> Tensor:
    """ifft( conj(K) fft(y) / (|K|^2 + weight (|Dx|^2 + |Dy|^2)) ), circular border.

    extended: (B, C, H, W); kernel: (B, h, w) or (B, C, h, w); weight: a number or (B, 1, 1, 1).
    """
    size = extended.shape[-2:]
    K = transfer_function(kernel if kernel.dim() == 4 else kernel[:, None], size)
    denominator = K.abs().square() + weight * gradient_power(size, extended.device, extended.dtype)
    return torch.fft.irfft2(K.conj() * torch.fft.rfft2(extended) / denominator, s=size)


@INITIALISATIONS.register("paper")
class PaperInitialisation(nn.Module):
    """x0 as published: border extension, three edge tapers, inverse filter of weight 0.002."""

    weight = 0.002

    def forward(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """blurry (B, C, H, W), kernel (B, h, w) or (B, C, h, w), odd sides -> x0 (B, C, H, W), not clamped."""
        return laid_out_as(blurry, crop(inverse_filter(extend(blurry, kernel), kernel, self.weight), kernel))


@INITIALISATIONS.register("adaptive")
class AdaptiveInitialisation(nn.Module):
    """Like the paper's, but the weight grows with the noise that the blurry image shows.

    weight = `weight_at_1_percent` * (sigma / 0.01) ** `exponent`, both fitted on training images
    by codes/scripts/fit_initialisation.py. The extended image is made a little larger still, to a
    size whose Fourier transform is fast, and one transfer function serves all steps.
    """

    weight_at_1_percent = 0.0129
    exponent = 1.73

    def forward(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """blurry (B, C, H, W), kernel (B, h, w) or (B, C, h, w), odd sides -> x0 (B, C, H, W), not clamped."""
        sigma = estimate_noise(blurry).clamp(min=LEAST_SIGMA)
        return self.inverse(blurry, kernel, self.weight_at_1_percent * (sigma / 0.01) ** self.exponent)

    def inverse(self, blurry: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
        """x0 (B, C, H, W) for given weights (B,); the kernel is (B, h, w) or (B, C, h, w)."""
        padded = pad_to_fast_size(blurry, kernel.shape[-2:])
        size = padded.shape[-2:]
        K = transfer_function(kernel if kernel.dim() == 4 else kernel[:, None], size)
        tapered = edge_taper(padded, kernel, circular_blur=lambda y: torch.fft.irfft2(K * torch.fft.rfft2(y), s=size))
        denominator = K.abs().square() + weight[:, None, None, None] * gradient_power(size, K.device, blurry.dtype)
        x0 = torch.fft.irfft2(K.conj() * torch.fft.rfft2(tapered) / denominator, s=size)
        return laid_out_as(blurry, inner(x0, blurry.shape[-2:], kernel.shape[-2:]))
