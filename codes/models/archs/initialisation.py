"""The start x0 of the iteration (spec of the paper: edge taper, then a regularised inverse filter)."""

import torch
from torch import Tensor, nn

from codes.models.archs.blur import Blur, centre, pad, transfer_function
from codes.utils.registry import Registry

INITIALISATIONS: Registry[type[nn.Module]] = Registry("initialisation")


def gradient_power(size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """|Dx|^2 + |Dy|^2, the power spectrum of the forward differences [-1 1] and its transpose.

    Returns (H, W//2+1) for a real transform of an image of size (H, W).
    """
    rows = torch.fft.fftfreq(size[0], device=device, dtype=dtype)[:, None]
    columns = torch.fft.rfftfreq(size[1], device=device, dtype=dtype)[None]
    return 4 - 2 * torch.cos(2 * torch.pi * rows) - 2 * torch.cos(2 * torch.pi * columns)


def edge_taper(y: Tensor, kernel: Tensor, times: int = 3) -> Tensor:
    """Blend the image's border with its circular blur, so that opposite borders meet smoothly.

    y: (B, C, H, W); kernel: (B, h, w) or (B, C, h, w). Values are not clipped.
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
    blur = Blur(kernel, y.shape[-2:], border="circular")
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
    (height, width), (top, left) = kernel.shape[-2:], centre(kernel.shape[-2:])
    rows, columns = extended.shape[-2] - height + 1, extended.shape[-1] - width + 1
    return extended[..., top : top + rows, left : left + columns]


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
        """blurry (B, C, H, W), kernel (B, h, w) of odd sides -> x0 (B, C, H, W), not clamped."""
        return crop(inverse_filter(extend(blurry, kernel), kernel, self.weight), kernel)
