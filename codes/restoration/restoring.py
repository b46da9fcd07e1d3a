"""From the pixels of a photograph and a kernel to the restored pixels, of the same type and shape."""

import sys
from typing import Literal, NamedTuple, get_args

import numpy as np
from tqdm import tqdm

from codes.data.kernels import check_fits, rotated
from codes.models.gaps import clipped_highlights
from codes.models.restorer import Restorer
from codes.restoration.masks import checked_mask, without_gaps
from codes.restoration.orientation import SURE, Verdict, judge
from codes.restoration.pixels import Values, as_float, pixels_of, values_of
from codes.utils.errors import UserError, warn

Orientation = Literal["auto", "as-is", "rotated"]
ORIENTATIONS = get_args(Orientation)
_NO_REASON = "this kernel does not seem to explain the blur; does it belong to this image?"


class Outcome(NamedTuple):
    """A restored image.

    pixels: the result, (H, W, C) in the type of the input. stages: x0 and the image of every stage in the same form;
    empty unless `stages=True`. kernel: the kernel as it was used. notes: what was printed about image and kernel.
    """

    pixels: np.ndarray
    stages: list[np.ndarray]
    kernel: np.ndarray
    notes: list[str]


def restore(
    restorer: Restorer,
    pixels: np.ndarray,
    kernel: np.ndarray,
    orientation: Orientation = "auto",
    mask: np.ndarray | Literal["auto"] | None = None,
    stages: bool = False,
    where: str = "the image",
) -> Outcome:
    """Restore an image and print on stderr how its kernel was used. A kernel of one pixel leaves it unchanged.

    pixels, orientation, mask: see `codes.restoration.call.deblur`. kernel: (h, w) or (h, w, 3), odd sides, sum 1.
    stages: keep the images of all stages. Raises UserError, naming `where`, for arguments that cannot be used, for a
    result that is not finite, and as `Restorer.restore` does.
    """
    if orientation not in ORIENTATIONS:
        raise UserError(f"orientation {orientation!r}: {', '.join(ORIENTATIONS)} are possible")
    if isinstance(mask, str) and mask != "auto":
        raise UserError(f"mask {mask!r}: 'auto' or an array is possible")
    pixels = np.asarray(pixels)
    values = values_of(pixels, where)
    blurry = values.colours
    if kernel.ndim == 3 and blurry.shape[2] == 1:
        raise UserError(f"{where}: is grey, but the kernel has a channel for each colour")
    if mask is None and is_delta(kernel):
        notes = _printed(["this kernel is a single pixel, which blurs nothing; the image stays as it is"], where)
        same = pixels if pixels.ndim == 3 else pixels[..., None]
        return Outcome(same, [same] * (restorer.stages + 1) if stages else [], kernel, notes)
    check_fits(kernel, blurry, where)
    valid = clipped_highlights(blurry) if isinstance(mask, str) else mask
    valid = None if valid is None else checked_mask(valid, blurry.shape[:2])
    notes = _printed(range_notes(pixels, values), where)
    if orientation == "auto":
        verdict = judge(without_gaps(blurry, valid), kernel)
        notes += _printed(kernel_note(verdict), where)
        if not verdict.explains:
            warn(f"{where}: {_NO_REASON}")
            notes.append(_NO_REASON)
        orientation = "rotated" if verdict.rotated else "as-is"
    kernel = rotated(kernel) if orientation == "rotated" else kernel
    try:
        restored = restorer.restore(blurry, kernel, mask=valid, stages=stages)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    images = [pixels_of(values._replace(colours=image), pixels.dtype) for image in restored.stages or [restored.image]]
    if not np.isfinite(restored.image).all() or not np.isfinite(images[-1]).all():
        raise UserError(f"{where}: the restored image holds values that are not finite")
    return Outcome(images[-1], images if stages else [], kernel, notes)


def is_delta(kernel: np.ndarray) -> bool:
    """True if a kernel (h, w) or (h, w, 3), odd sides, is zero except at its centre."""
    height, width = kernel.shape[:2]
    rest = kernel.copy()
    rest[height // 2, width // 2] = 0
    return not rest.any()


def range_notes(pixels: np.ndarray, values: Values) -> list[str]:
    """Notes on an image that was rescaled or clipped for the network."""
    notes = []
    colours = as_float(pixels.reshape(*pixels.shape[:2], -1)[..., : values.colours.shape[2]])
    if values.white != 1:
        notes.append(f"divided by its white level ({values.white:.3g} of full scale), multiplied after restoring")
    for count, what in (
        (np.count_nonzero(colours > values.white), f"beyond {values.white:.3g}"),
        (np.count_nonzero(colours < 0), "below 0"),
    ):
        if count:
            notes.append(f"{count} values {what} are cut off")
    return notes


def kernel_note(verdict: Verdict) -> list[str]:
    """How a kernel is used, if there is anything to say."""
    if verdict.certainty < SURE:
        return ["the image does not show which way round the kernel is; used as it is (see --kernel-orientation)"]
    if verdict.symmetric:
        return []
    sure = f"{verdict.certainty:.0%}" if verdict.certainty < 0.99 else "over 99%"
    return [f"kernel used {'rotated by 180 degrees' if verdict.rotated else 'as it is'} ({sure} sure)"]


def _printed(notes: list[str], where: str) -> list[str]:
    """Print notes on stderr, above a progress bar."""
    for note in notes:
        tqdm.write(f"{where}: {note}", file=sys.stderr)
    return notes
