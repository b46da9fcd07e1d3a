"""x0, the start of the iteration: the edges are tapered, then a regularised inverse filter is applied."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from codes.models.paper.blur import Blur, by_channel, inner, pad, transfer_function
from codes.models.paper.formats import match_memory_format
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
    circular_blur: the circular blur with `kernel`, if the caller has computed it already.
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

    Methods that assume a circular border then give an image that does not ring.
    (B, C, H, W) -> (B, C, H+h-1, W+w-1); undo with `crop`.
    """
    return edge_taper(pad(blurry, kernel.shape[-2:], "replicate"), kernel)


def crop(extended: Tensor, kernel: Tensor) -> Tensor:
    """Undo the padding of `extend`: (B, C, H+h-1, W+w-1) -> (B, C, H, W)."""
    height, width = kernel.shape[-2:]
    return inner(extended, (extended.shape[-2] - height + 1, extended.shape[-1] - width + 1), (height, width))


def inverse_filter(extended: Tensor, K: Tensor, weight: float | Tensor) -> Tensor:
    """ifft( conj(K) fft(y) / (|K|^2 + weight (|Dx|^2 + |Dy|^2)) ), circular border.

    extended: (B, C, H, W); K: (B, 1 or C, H, W//2+1), transfer function of the blur; weight: a number or (B, 1, 1, 1).
    """
    size = extended.shape[-2:]
    denominator = K.abs().square() + weight * gradient_power(size, extended.device, extended.dtype)
    return torch.fft.irfft2(K.conj() * torch.fft.rfft2(extended) / denominator, s=size)


@INITIALISATIONS.register("paper")
class PaperInitialisation(nn.Module):
    """x0 as published: border extension, three edge tapers, inverse filter of weight 0.002."""

    weight = 0.002

    def forward(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """blurry (B, C, H, W), kernel (B, h, w) or (B, C, h, w), odd sides -> x0 (B, C, H, W), not clamped."""
        extended = extend(blurry, kernel)
        K = transfer_function(by_channel(kernel), extended.shape[-2:])
        return match_memory_format(crop(inverse_filter(extended, K, self.weight), kernel), blurry)
