"""From the pixels of a photograph and a kernel to the restored pixels, the same in type and shape."""

import sys
from typing import Literal, NamedTuple, get_args

import numpy as np
from tqdm import tqdm

from codes.data.kernels import check_fits
from codes.data.masks import clipped_highlights
from codes.restoration.deblurring import Deblurrer
from codes.restoration.masks import checked_mask, without_gaps
from codes.restoration.orientation import SURE, Verdict, judge, rotated
from codes.restoration.pixels import Values, as_float, pixels_of, values_of
from codes.utils.errors import UserError, warn

Orientation = Literal["auto", "as-is", "rotated"]
ORIENTATIONS = get_args(Orientation)


class Outcome(NamedTuple):
    """What was made of an image.

    pixels: the result, (H, W, C) in the type of the input. stages: x0 and every stage's image likewise, if asked
    for. kernel: as it was used. notes: how it was taken, and doubts about it, as on stderr.
    """

    pixels: np.ndarray
    stages: list[np.ndarray]
    kernel: np.ndarray
    notes: list[str]


def restore(
    deblurrer: Deblurrer,
    pixels: np.ndarray,
    kernel: np.ndarray,
    orientation: Orientation = "auto",
    mask: np.ndarray | Literal["auto"] | None = None,
    every: bool = False,
    where: str = "the image",
) -> Outcome:
    """Restore an image; on stderr stands how its kernel was taken. With a delta kernel it comes back as it is.

    pixels: (H, W) or (H, W, C), uint8, uint16 or float, C = 1, 3, or 2, 4 with alpha.

    kernel: (h, w), or (h, w, 3) for a kernel a channel, odd sides, sum 1. mask: (H, W), 0 at pixels
    to leave out, or `auto` for clipped highlights. every: keep the stages.
    Raises UserError, naming `where`, for an image or mask that is none, a kernel that doesn't fit, another
    orientation, and as `Deblurrer.stages` does.
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
    check_fits(kernel, blurry, where)
    if mask is None and is_delta(kernel):
        note = "this kernel is a single pixel, which blurs nothing; the image stays as it is"
        tqdm.write(f"{where}: {note}", file=sys.stderr)
        same = pixels if pixels.ndim == 3 else pixels[..., None]
        return Outcome(same, [same] * (deblurrer.network.n_iter + 1) if every else [], kernel, [note])
    if isinstance(mask, str):
        valid = clipped_highlights(blurry)
    else:
        valid = None if mask is None else checked_mask(mask, blurry.shape[:2])
    verdict = judge(without_gaps(blurry, valid), kernel) if orientation == "auto" else None
    notes = told_of_range(pixels, values, where)
    notes += [] if verdict is None else told(verdict, where)
    if orientation == "rotated" or (verdict is not None and verdict.rotated):
        kernel = rotated(kernel)
    try:
        images = deblurrer.stages(blurry, kernel, valid, every)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if not np.isfinite(images[-1]).all():
        raise UserError(f"{where}: the restored image holds values that are not finite")
    stages = [pixels_of(values._replace(colours=image), pixels.dtype) for image in images]
    return Outcome(stages[-1], stages if every else [], kernel, notes)


def is_delta(kernel: np.ndarray) -> bool:
    """Whether a kernel (h, w) or (h, w, 3), odd sides, is zero but for its centre."""
    height, width = kernel.shape[:2]
    rest = kernel.copy()
    rest[height // 2, width // 2] = 0
    return not rest.any()


def told_of_range(pixels: np.ndarray, values: Values, where: str) -> list[str]:
    """Say on stderr where an image was rescaled or cut off for the network; returns what was said."""
    notes = []
    colours = as_float(pixels.reshape(*pixels.shape[:2], -1)[..., : values.colours.shape[2]])
    if values.white != 1:
        notes.append(f"restored with {values.white:.3g} of full scale taken as white, and scaled back")
    if beyond := np.count_nonzero(colours > values.white):
        notes.append(f"{beyond} values beyond {values.white:.3g} are cut off")
    if below := np.count_nonzero(colours < 0):
        notes.append(f"{below} values below 0 are cut off")
    for note in notes:
        tqdm.write(f"{where}: {note}", file=sys.stderr)
    return notes


def told(verdict: Verdict, where: str) -> list[str]:
    """Say on stderr how a kernel was taken, and warn where it explains nothing; returns what was said."""
    notes = []
    if verdict.certainty < SURE:
        notes.append("the image can't tell which way round the kernel is; taken as it is (see --kernel-orientation)")
        tqdm.write(f"{where}: {notes[-1]}", file=sys.stderr)
    elif not verdict.symmetric:
        how = "rotated by 180 degrees" if verdict.rotated else "as it is"
        sure = f"{verdict.certainty:.0%}" if verdict.certainty < 0.99 else "over 99%"
        notes.append(f"kernel taken {how} ({sure} sure)")
        tqdm.write(f"{where}: {notes[-1]}", file=sys.stderr)
    if not verdict.explains:
        notes.append("this kernel does not seem to explain the blur; is it the one of this image?")
        warn(f"{where}: {notes[-1]}")
    return notes
