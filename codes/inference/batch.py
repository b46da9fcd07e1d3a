"""An image as a batch for a network, and its flips and rotations."""

import numpy as np
import torch
from torch import Tensor

from codes.models.network import Network
from codes.utils.errors import UserError


def as_batch(network: Network, image: np.ndarray, kernel: np.ndarray) -> tuple[Tensor, Tensor]:
    """An image (H, W, C) and its kernel (h, w) or (h, w, 3) in the shape that `network` expects, float32.

    Grey is repeated for a network of three channels; a network of one channel gets a batch of C images.
    Raises UserError for any other difference in the number of channels.
    """
    channels = image.shape[2]
    in_nc = network.in_nc or channels
    if 1 not in (in_nc, channels) and in_nc != channels:
        raise UserError(f"network_G: in_nc is {in_nc}, but the image has {channels} channels; in_nc: 1 or 3 is needed")
    y, k = (torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for array in (image, kernel))
    y = y.permute(2, 0, 1)
    if k.dim() == 2:
        k = k.expand(channels if in_nc == 1 else 1, -1, -1)
    else:
        k = k.permute(2, 0, 1) if in_nc == 1 else k.permute(2, 0, 1)[None]
    return (y[:, None] if in_nc == 1 else y.expand(in_nc, -1, -1)[None]), k


def as_image(x: Tensor, channels: int) -> np.ndarray:
    """The inverse of `as_batch`: float32 (H, W, channels)."""
    image = x.flatten(0, 1).permute(1, 2, 0).float().cpu().numpy()
    return image.mean(2, keepdims=True) if channels == 1 else image


def dihedral(image: Tensor, number: int) -> Tensor:
    """One of the eight flips and rotations (the dihedral group; 0 to 7, 0: none) of images or kernels (..., H, W)."""
    image = image.flip(-1) if number >= 4 else image
    return image.rot90(number % 4, (-2, -1))


def dihedral_inverse(image: Tensor, number: int) -> Tensor:
    """The inverse of `dihedral`."""
    image = image.rot90(-(number % 4), (-2, -1))
    return image.flip(-1) if number >= 4 else image
