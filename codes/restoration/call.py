"""The call from Python: arrays in, arrays out."""

from pathlib import Path
from typing import Literal

import numpy as np

from codes.data.kernels import normalised
from codes.models.restorer import Precision, Restorer
from codes.restoration.kernel_spec import kernel_of
from codes.restoration.networks import SHIPPED, load_network
from codes.restoration.restoring import Orientation, restore
from codes.utils.devices import available_device
from codes.utils.errors import warn


def deblur(
    image: np.ndarray,
    kernel: np.ndarray | str,
    *,
    weights: str | Path = SHIPPED,
    preset: str | None = None,
    device: str | None = None,
    orientation: Orientation = "auto",
    mask: np.ndarray | Literal["auto"] | None = None,
    precision: Precision = "float32",
    tile: int | Literal["auto", "off"] = "auto",
    gigabytes: float | None = None,
    ensemble: bool = False,
) -> np.ndarray:
    """Restore a blurry image whose kernel is known.

    image: (H, W) or (H, W, C), RGB, uint8, uint16 or float from 0 to 1; C = 1, 3, or 2, 4 with an alpha channel, which
    is copied. kernel: (h, w), or (h, w, 3) for one for each channel, with a positive sum, not larger than the image;
    or a file or formula such as `motion:15,30`, see `kernel_of`.
    weights: a preset with weights in Models/, a weight file, or the folder of a training. preset: the network of a
    weight file without a card. device: cpu, cuda or cuda:N; None: a GPU if there is one. orientation: `as-is` for a
    kernel that is cross-correlated with the sharp image, `rotated` for one made for convolution, `auto` to find out.
    mask: (H, W), 0 at pixels to leave out, or `auto` for clipped highlights. precision, tile, gigabytes, ensemble: see
    `Restorer`.

    Returns an array of the image's shape and type, clamped to its range (a float image that goes beyond 1 is not
    clamped at 1). An image whose maximum is below half of full scale or above 1 is rescaled for the network; stderr
    says so. Raises UserError, which says what is wrong, for arguments that cannot be used.
    """
    image = np.asarray(image)
    kernel = kernel_of(kernel) if isinstance(kernel, str) else normalised(kernel, "the kernel", per_channel=True)
    settings = {"precision": precision, "tile": tile, "gigabytes": gigabytes, "ensemble": ensemble}
    restorer = open_restorer(weights, preset, device, masked=mask is not None, **settings)
    return restore(restorer, image, kernel, orientation, mask).pixels.reshape(image.shape)


def open_restorer(
    weights: str | Path, preset: str | None, device: str | None, masked: bool = False, **settings: object
) -> Restorer:
    """The restorer with trained weights. Warns if `masked` is set but the training did not use masks."""
    trained = load_network(weights, preset)
    if masked and not trained.trained_with_masks:
        warn(f"{trained.path.name} was not trained with masks: compare the result with that without one")
    return Restorer(trained.network, available_device("auto" if device is None else device), **settings)
