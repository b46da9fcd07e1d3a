"""Sharpen one's own images, given the kernel that blurred them.

    python codes/deblur.py --input photo.jpg --kernel kernel.png --output sharp.png
    python codes/deblur.py --input photos/ --kernel motion:15,30 --output sharp/

The output keeps size, bit depth (8 or 16 bit, float TIFF), grey or colour, alpha channel, EXIF
orientation and ICC profile; its suffix names the format. What exists is replaced only with
--overwrite, an input never. Of a folder, what is missing is made, so that an interrupted run goes
on; an image that fails is reported, and the others are done. An image whose maximum is below half
of full scale or above 1 is restored with its own white level (its maximum, without hot pixels) as
1 and scaled back; values beyond that or below 0 are cut off; stderr says so.

The kernel is a PNG, TIFF, .npy or .mat file (its sum and even sides are taken care of; three
channels that differ are a kernel for each colour), or, in pixels and degrees,
    motion:LENGTH,ANGLE   a straight motion, the angle counter-clockwise from the horizontal
    gaussian:SIGMA        a Gaussian blur
    disk:RADIUS           out of focus
It belongs to the image as a viewer shows it. The blur has to be the same over the whole image.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Waiting threads that spin take the cores away from other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.preparation import ensure_quickstart
from codes.models.registry import PRESETS
from codes.restoration.call import open_deblurrer
from codes.restoration.compare import sheet
from codes.restoration.deblurring import PRECISIONS, Deblurrer, Settings
from codes.restoration.image_files import Photo, read_photo, write_photo
from codes.restoration.kernel_spec import kernel_of
from codes.restoration.masks import read_mask
from codes.restoration.metadata import Metadata
from codes.restoration.networks import SHIPPED, shipped_knows_masks
from codes.restoration.outputs import (
    check_folders,
    compare_path,
    output_paths,
    refuse_conflicts,
    stage_path,
    written_for,
)
from codes.restoration.restoring import ORIENTATIONS, restore
from codes.utils.arguments import positive, positive_number
from codes.utils.errors import UserError, in_one_line, run_command_line
from codes.utils.files import ROOT

UNTRAINED = "The shipped weights were not trained with masks: compare the result with that without one."

EXAMPLES = ROOT / "Datasets" / "Quickstart"


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    if any(Path(os.path.abspath(path)).is_relative_to(EXAMPLES) for path in (arguments.input, arguments.kernel)):
        ensure_quickstart(EXAMPLES)
    paths = output_paths(arguments.input, arguments.output)
    kernel = kernel_of(arguments.kernel)
    settings = Settings(arguments.precision, arguments.tile, arguments.ensemble, arguments.memory)
    deblurrer = open_deblurrer(
        arguments.weights, arguments.preset, arguments.device, settings, arguments.mask is not None, progress=True
    )
    stages = deblurrer.network.n_iter + 1 if arguments.trace else 0
    written = {source: written_for(target, arguments.compare, stages) for source, target in paths.items()}
    given = [Path(text) for text in (arguments.kernel, arguments.weights, arguments.mask) if text]
    refuse_conflicts([path for files in written.values() for path in files], [*paths, *given])
    missing = {
        source: files if arguments.overwrite else [path for path in files if not path.is_file()]
        for source, files in written.items()
    }
    if not arguments.input.is_dir():
        ((source, target),) = paths.items()
        for path in written[source]:
            if path not in missing[source]:
                raise UserError(f"{path}: exists already; choose another --output, or --overwrite")
        check_folders(written[source])
        restore_file(deblurrer, source, target, written[source], kernel, arguments)
        return 0
    wanted = {source: files for source, files in missing.items() if files}
    if len(wanted) < len(paths):
        print(f"{len(paths) - len(wanted)} of {len(paths)} images are done already; --overwrite restores them again")
    check_folders(path for files in wanted.values() for path in files)
    failed = 0
    for source, files in tqdm(wanted.items(), unit=" images"):
        try:
            restore_file(deblurrer, source, paths[source], files, kernel, arguments)
        except (UserError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # the others would not fit either
                raise
            failed += 1
            tqdm.write(f"error: {in_one_line(error)}", file=sys.stderr)
    return 1 if failed else 0


def restore_file(
    deblurrer: Deblurrer,
    source: Path,
    target: Path,
    wanted: Sequence[Path],
    kernel: np.ndarray,
    arguments: argparse.Namespace,
) -> None:
    """Restore one image file and write those of its files that are wanted, the result last."""
    for path in wanted:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; the image can't be written there")
    photo = read_photo(source)
    mask = arguments.mask
    if mask not in (None, "auto"):
        mask = read_mask(mask, photo.pixels.shape[:2])
    outcome = restore(
        deblurrer, photo.pixels, kernel, arguments.kernel_orientation, mask, every=arguments.trace, where=str(source)
    )
    photos = {stage_path(target, n): Photo(pixels, photo.metadata) for n, pixels in enumerate(outcome.stages)}
    if arguments.compare:
        photos[compare_path(target)] = Photo(sheet(photo.pixels, outcome.pixels, outcome.kernel), Metadata())
    photos[target] = Photo(outcome.pixels, photo.metadata)
    for path, made in photos.items():
        if path in wanted:
            write_photo(path, made)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="IMAGE|FOLDER", help="PNG, JPEG, TIFF or BMP, or a folder of them")
    add("--kernel", required=True, metavar="FILE|SPEC", help="see above")
    add("--output", type=Path, required=True, metavar="PATH", help="an image file, or a folder, made if need be")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("--trace", action="store_true", help="save every stage beside the output: <output>_x0, <output>_stage1, ...")
    add("--compare", action="store_true", help="save a sheet, before | after, beside it: <output>_compare.png")

    add = parser.add_argument_group("blur").add_argument
    add(
        "--kernel-orientation",
        choices=ORIENTATIONS,
        default="auto",
        help="a kernel is made for cross-correlation (as-is here) or for convolution (rotated by 180 degrees), and its "
        "file does not say for which; auto, the default, tries both on the image and says what it chose",
    )
    add(
        "--mask",
        metavar="FILE|auto",
        help="an image, black at pixels to leave out, such as dead or saturated ones, white elsewhere; auto: clipped "
        f"highlights. {'' if shipped_knows_masks() else UNTRAINED}",
    )

    add = parser.add_argument_group("network").add_argument
    add(
        "--weights",
        default=SHIPPED,
        metavar="NAME|FILE",
        help=f"a preset whose weights lie in Models/ (default: {SHIPPED}, which come with this repository), or a file "
        "with its card <name>.yml beside it, or of a training, in experiments/<name>/models",
    )
    add("--preset", choices=sorted(PRESETS), help="the network of a weight file that has no card")
    add("--ensemble", action="store_true", help="mean over the eight flips and turns of the image: 8 times the time")
    add("--precision", choices=PRECISIONS, default="float32", help="default: float32")
    add("--device", metavar="cpu|cuda|cuda:N", help="default: a GPU if there is one")

    add = parser.add_argument_group("large images").add_argument
    add(
        "--tile",
        type=side,
        default="auto",
        metavar="auto|N|off",
        help="restore in overlapping tiles of N pixels a side; auto, the default: where the memory asks for it",
    )
    add("--memory", type=positive_number, metavar="GB", help="have auto take no more than that; default: what is free")
    return parser.parse_args(argv)


def side(text: str) -> int | str:
    """auto, off or a whole number."""
    return text if text in ("auto", "off") else positive(text)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
