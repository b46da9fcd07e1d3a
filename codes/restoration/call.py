"""Deblur numpy arrays. codes/deblur.py and codes/demo.py use `open_restorer` and `restore`."""

import sys
from collections.abc import Iterator
from numbers import Real
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from tqdm import tqdm

from codes.data.kernels import check_fits, normalised, rotated
from codes.inference.gaps import clipped_highlights
from codes.inference.noise_level import noise_level
from codes.inference.restorer import Precision, Restorer
from codes.restoration.gamma import GAMMAS, Gamma, noise_in_light, to_light, to_values
from codes.restoration.kernel_spec import parse_kernel
from codes.restoration.masks import checked_mask, without_gaps
from codes.restoration.networks import SHIPPED, load_network
from codes.restoration.orientation import SURE, Verdict, judge
from codes.restoration.pixels import Values, pixels_to_values, values_to_pixels
from codes.utils.devices import available_device
from codes.utils.errors import UserError, warn

Orientation = Literal["auto", "as-is", "rotated"]
ORIENTATIONS = get_args(Orientation)


class Outcome(NamedTuple):
    """A restored image.

    pixels: the result, (H, W, C) in the type of the input. stages: x0 and the image of every stage in the same form;
    empty unless `stages=True`. kernel: the kernel as it was used. notes: what was printed about image and kernel.
    """

    pixels: np.ndarray
    stages: list[np.ndarray]
    kernel: np.ndarray
    notes: list[str]


def deblur(
    image: np.ndarray,
    kernel: np.ndarray | str,
    *,
    weights: str | Path = SHIPPED,
    preset: str | None = None,
    device: str | None = None,
    orientation: Orientation = "auto",
    noise: float | Literal["auto"] = "auto",
    mask: np.ndarray | Literal["auto"] | None = None,
    gamma: Gamma = "auto",
    precision: Precision = "float32",
    tile: int | Literal["auto", "off"] = "auto",
    gigabytes: float | None = None,
    ensemble: bool = False,
) -> np.ndarray:
    """Restore a blurry image whose kernel is known.

    An image whose maximum is below half of full scale or above 1 is rescaled for the network; stderr says so.

    Args:
        image: (H, W) or (H, W, C), RGB, uint8, uint16 or float from 0 to 1; C = 1, 3, or 2, 4 with an alpha channel,
            which is copied.
        kernel: (h, w), or (h, w, 3) for one for each channel, with a positive sum, not larger than the image; or a
            file or formula such as `motion:15,30`, see `parse_kernel`.
        weights: A preset with weights in Models/, a weight file, or the folder of a training.
        preset: The network of a weight file without a card.
        device: cpu, cuda or cuda:N; None: a GPU if there is one.
        orientation: `as-is` for a kernel that is cross-correlated with the sharp image, `rotated` for one made for
            convolution, `auto` to find out.
        noise: Standard deviation of the noise in percent of full scale, or `auto` to estimate it.
        mask: (H, W), 0 at pixels to leave out, or `auto` for clipped highlights.
        gamma: `srgb` or `2.2` to restore in linear light, for an image that was blurred in a camera; `none` and `auto`
            restore the values as they are.
        precision, tile, gigabytes, ensemble: See `Restorer`.

    Returns:
        An array of the image's shape and type, clamped to its range (a float image that goes beyond 1 is not clamped
        at 1).

    Raises:
        UserError: An argument cannot be used.
    """
    image = np.asarray(image)
    kernel = parse_kernel(kernel) if isinstance(kernel, str) else normalised(kernel, "the kernel", per_channel=True)
    settings = {"precision": precision, "tile": tile, "gigabytes": gigabytes, "ensemble": ensemble}
    restorer = open_restorer(weights, preset, device, masked=mask is not None, **settings)
    return restore(restorer, image, kernel, orientation, mask, noise=noise, gamma=gamma).pixels.reshape(image.shape)


def open_restorer(
    weights: str | Path, preset: str | None, device: str | None, masked: bool = False, **settings: object
) -> Restorer:
    """The restorer with trained weights. Warns if `masked` is set but the training did not use masks."""
    trained = load_network(weights, preset)
    if masked and not trained.trained_with_masks:
        warn(f"{trained.path.name} was not trained with masks: compare the result with that without one")
    return Restorer(trained.network, available_device("auto" if device is None else device), **settings)


def restore(
    restorer: Restorer,
    pixels: np.ndarray,
    kernel: np.ndarray,
    orientation: Orientation = "auto",
    mask: np.ndarray | Literal["auto"] | None = None,
    stages: bool = False,
    where: str = "the image",
    noise: float | Literal["auto"] = "auto",
    gamma: Gamma = "auto",
) -> Outcome:
    """Restore an image and print on stderr how its kernel was used. A kernel of one pixel leaves it unchanged.

    pixels, orientation, mask, noise, gamma: see `deblur`. kernel: (h, w) or (h, w, 3), odd sides, sum 1.
    stages: keep the images of all stages. Raises UserError, naming `where`, for arguments that cannot be used, for a
    result that is not finite, and as `Restorer.restore` does.
    """
    check_choices(orientation, mask, noise, gamma)
    pixels = np.asarray(pixels)
    values = pixels_to_values(pixels, where)
    blurry = values.colours
    if kernel.ndim == 3 and blurry.shape[2] == 1:
        raise UserError(f"{where}: is grey, but the kernel has a channel for each colour")
    notes: list[str] = []

    def say(*lines: str) -> None:
        for line in lines:
            tqdm.write(f"{where}: {line}", file=sys.stderr)  # above a progress bar
        notes.extend(lines)

    if mask is None and is_delta(kernel):
        say("this kernel is a single pixel, which blurs nothing; the image stays as it is")
        same = pixels if pixels.ndim == 3 else pixels[..., None]
        return Outcome(same, [same] * (restorer.stages + 1) if stages else [], kernel, notes)
    check_fits(kernel, blurry, where)
    valid = clipped_highlights(blurry) if isinstance(mask, str) else mask
    valid = None if valid is None else checked_mask(valid, blurry.shape[:2], where)
    say(*range_notes(values))
    if orientation == "auto":
        verdict = judge(without_gaps(blurry, valid), kernel)
        say(*kernel_notes(verdict))
        orientation = "rotated" if verdict.rotated else "as-is"
    kernel = rotated(kernel) if orientation == "rotated" else kernel
    light = to_light(blurry, gamma)
    if noise == "auto":
        sigma = noise_level(without_gaps(light, valid), kernel, valid) if restorer.network.takes_sigma else None
    else:
        sigma = noise_in_light(noise / 100 / values.white, gamma)
    say(*noise_notes(sigma, values.white, noise, restorer.network.takes_sigma))
    try:
        restored = restorer.restore(light, kernel, sigma=sigma, mask=valid, stages=stages)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    colours = (to_values(image, gamma) for image in restored.stages or [restored.image])
    images = [values_to_pixels(values._replace(colours=image), pixels.dtype) for image in colours]
    if not all(np.isfinite(image).all() for image in (restored.image, *images)):
        raise UserError(f"{where}: the restored image holds values that are not finite")
    return Outcome(images[-1], images if stages else [], kernel, notes)


def check_choices(orientation: str, mask: np.ndarray | str | None, noise: float | str, gamma: str) -> None:
    """Raise UserError for an unknown orientation or gamma, a mask of other text than `auto`, or an impossible noise."""
    if gamma not in GAMMAS:
        raise UserError(f"gamma {gamma!r}: {', '.join(GAMMAS)} are possible")
    if noise != "auto" and not (isinstance(noise, Real) and 0 <= noise <= 100):
        raise UserError(f"noise {noise!r}: 'auto' or a percentage from 0 to 100 is possible")
    if orientation not in ORIENTATIONS:
        raise UserError(f"orientation {orientation!r}: {', '.join(ORIENTATIONS)} are possible")
    if isinstance(mask, str) and mask != "auto":
        raise UserError(f"mask {mask!r}: 'auto' or an array is possible")


def noise_notes(sigma: float | None, white: float, noise: float | str, used: bool) -> Iterator[str]:
    """The noise level that the network is given. used: it has an input for it."""
    if used:
        yield f"noise of {sigma * white:.2%} of full scale (estimated)" if noise == "auto" else f"noise of {noise:.2f}%"
    elif noise != "auto":
        yield "this network does not use a noise level"


def range_notes(values: Values) -> Iterator[str]:
    """Notes on an image that was rescaled or clipped for the network."""
    if values.white != 1:
        yield f"divided by its white level ({values.white:.3g} of full scale), multiplied after restoring"
    if values.cut:
        yield f"{values.cut} values below 0 or beyond {values.white:.3g} are cut off"


def is_delta(kernel: np.ndarray) -> bool:
    """True if a kernel (h, w) or (h, w, 3), odd sides, is zero except at its centre."""
    return np.count_nonzero(kernel) == np.count_nonzero(kernel[kernel.shape[0] // 2, kernel.shape[1] // 2])


def kernel_notes(verdict: Verdict) -> Iterator[str]:
    """How a kernel is used, and whether it seems to be a wrong one."""
    if verdict.certainty < SURE:
        yield "the image does not show which way round the kernel is; used as it is; set the orientation to choose"
    elif not verdict.symmetric:
        sure = f"{verdict.certainty:.0%}" if verdict.certainty < 0.99 else "over 99%"
        yield f"kernel used {'rotated by 180 degrees' if verdict.rotated else 'as it is'} ({sure} sure)"
    if not verdict.explains:
        yield "this kernel does not seem to explain the blur; does it belong to this image?"
