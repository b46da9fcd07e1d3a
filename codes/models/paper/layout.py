"""How maps lie in memory: the order of their values and their precision."""

import torch
from torch import Tensor


def laid_out_as(other: Tensor, image: Tensor) -> Tensor:
    """`image` (B, C, H, W) in the layout, channels-first or channels-last, of `other`.

    Convolutions keep a layout, Fourier transforms don't; arithmetic on two layouts is slow.
    """
    last = other.is_contiguous(memory_format=torch.channels_last) and not other.is_contiguous()
    return image.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def autocasted(image: Tensor) -> Tensor:
    """`image` in the precision that autocast gives a convolution; as it is where autocast is off.

    For what several operations take: autocast itself casts it for each of them anew, or not at all
    for those that are not convolutions.
    """
    kind = image.device.type
    return image.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else image
