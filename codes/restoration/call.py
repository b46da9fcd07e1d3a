"""The call from Python: arrays in, arrays out."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from codes.data.kernels import normalised
from codes.restoration.deblurring import Deblurrer, Settings
from codes.restoration.networks import SHIPPED, load_network
from codes.restoration.restoring import Orientation, restore
from codes.utils.arguments import available_device
from codes.utils.errors import UserError, warn


def deblur(
    image: np.ndarray,
    kernel: np.ndarray,
    *,
    weights: str | Path = SHIPPED,
    preset: str | None = None,
    device: str | None = None,
    orientation: Orientation = "auto",
    mask: np.ndarray | Literal["auto"] | None = None,
    settings: Settings = Settings(),  # noqa: B008  it is frozen
) -> np.ndarray:
    """Restore a blurry image whose kernel is known.

    image: (H, W) or (H, W, C), RGB, uint8, uint16 or float from 0 to 1; C = 1, 3, or 2, 4 with an
    alpha channel, which is passed through. kernel: (h, w), or (h, w, 3) for one a channel, of a
    positive sum, not larger than the image. orientation: `as-is` where the kernel is cross-correlated
    with the sharp image, `rotated` where it was made for convolution, `auto` to find out. mask: (H, W), 0 at
    pixels to leave out, or `auto` for clipped highlights. weights: a preset whose weights lie in
    Models/, or a file, whose network is that of its card or `preset`. device: cpu, cuda or cuda:N;
    None: a GPU if there is one. settings: precision, tiles, self-ensemble.

    Returns an array of the image's shape and type, clamped to its range (but a float image that goes
    beyond 1 is not). An image whose maximum is below half of full scale or above 1 is rescaled for the
    network, which stderr tells. Raises UserError, which says what is wrong, for what can't be used.
    """
    if not isinstance(settings, Settings):
        raise UserError(f"settings: codes.restoration.deblurring.Settings is expected, not {type(settings).__name__}")
    image = np.asarray(image)
    kernel = normalised(kernel, "the kernel", per_channel=True)
    deblurrer = open_deblurrer(weights, preset, device, settings, masked=mask is not None)
    return restore(deblurrer, image, kernel, orientation, mask).pixels.reshape(image.shape)


def open_deblurrer(
    weights: str | Path,
    preset: str | None,
    device: str | None,
    settings: Settings,
    masked: bool,
    progress: bool = False,
) -> Deblurrer:
    """The network on its device; warns where masks are asked for that it was not trained with."""
    trained = load_network(weights, preset)
    if masked and not trained.knows_masks:
        warn(f"{trained.path.name} was not trained with masks: compare the result with that without one")
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Deblurrer(trained.network, available_device(name), settings, progress)
