"""Memory layout and precision of feature maps."""

import torch
from torch import Tensor


def match_memory_format(image: Tensor, other: Tensor) -> Tensor:
    """`image` (B, C, H, W) in the memory layout of `other`, channels-first or channels-last.

    Convolutions keep the layout of their input, Fourier transforms don't. Arithmetic with two layouts is slow.
    """
    last = other.is_contiguous(memory_format=torch.channels_last) and not other.is_contiguous()
    return image.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32 if they are in half precision, for which Fourier transforms are inexact or missing."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def to_autocast_dtype(image: Tensor) -> Tensor:
    """`image` in the precision that autocast uses in convolutions; unchanged if autocast is off.

    Useful for an input of several operations: autocast by itself would convert it once per convolution, and would
    not convert it for other operations.
    """
    kind = image.device.type
    return image.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else image
