"""Sharpen blurred images whose kernel is known.

    python codes/deblur.py --input photo.jpg --kernel kernel.png --output sharp.png
    python codes/deblur.py --input photos/ --kernel motion:15,30 --output sharp/

The output keeps size, bit depth (8 or 16 bit, float TIFF), channels, EXIF orientation, ICC profile and resolution of
the input; its suffix names the format. Existing files are replaced only with --overwrite, inputs never. In a folder
only missing results are made, so an interrupted run continues; an image that fails is reported, and the others are
restored. An image whose maximum is below half of full scale or above 1 is divided by its own white level (its
maximum, without hot pixels) and multiplied afterwards; values above that or below 0 are cut off, and stderr says so.

The kernel is a PNG, TIFF, .npy or .mat file (any sum, any size; three channels that differ are a kernel for each
colour), or, in pixels and degrees,
    motion:LENGTH,ANGLE   a straight motion, the angle counter-clockwise from the horizontal
    gaussian:SIGMA        a Gaussian blur
    disk:RADIUS           out of focus
It belongs to the image as a viewer shows it. The blur has to be the same over the whole image.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import errno
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Threads that wait should sleep: spinning takes the cores away from other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from tqdm import tqdm

from codes.data.images import as_rgb, to_8bit
from codes.data.kernels import with_inset
from codes.data.preparation import QUICKSTART, ensure_quickstart
from codes.inference.restorer import PRECISIONS
from codes.models.registry import PRESETS
from codes.restoration.call import ORIENTATIONS, open_restorer, restore
from codes.restoration.gamma import GAMMAS
from codes.restoration.image_files import Photo, read_photo, write_photo
from codes.restoration.kernel_spec import parse_kernel
from codes.restoration.masks import read_mask
from codes.restoration.metadata import Metadata
from codes.restoration.networks import SHIPPED
from codes.restoration.outputs import check_folders, compare_path, output_paths, refuse_conflicts, stage_path
from codes.restoration.pixels import pixels_to_values
from codes.utils.arguments import positive, positive_number
from codes.utils.errors import UserError, in_one_line, run_command_line
from codes.utils.progress import Progress


def main(argv: Sequence[str]) -> int:
    start, arguments = time.perf_counter(), parse(argv)
    if any(Path(os.path.abspath(path)).is_relative_to(QUICKSTART) for path in (arguments.input, arguments.kernel)):
        ensure_quickstart(QUICKSTART)
    folder = arguments.input.is_dir()
    targets = output_paths(arguments.input, arguments.output)
    deblurring = Deblurring(arguments)
    jobs = deblurring.jobs(targets)
    failed = 0
    with Progress(len(jobs), "images", show=folder) as progress:
        for source, files in jobs.items():
            try:
                deblurring.run(source, targets[source], files)
            except (UserError, OSError) as error:
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # the others would not fit either
                    raise
                failed += 1
                tqdm.write(f"error: {in_one_line(error)}", file=sys.stderr)
            progress.update()
    if folder or not failed:
        shown = arguments.output if folder else next(iter(targets.values()))
        print(f"{shown} ({time.perf_counter() - start:.1f} s)")
    return 1 if failed else 0


class Deblurring:
    """Restores image files with one kernel and network, as the arguments of the command line say."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.kernel = parse_kernel(arguments.kernel)
        self.restorer = open_restorer(
            arguments.weights,
            arguments.preset,
            arguments.device,
            masked=arguments.mask is not None,
            precision=arguments.precision,
            tile=arguments.tile,
            gigabytes=arguments.memory,
            ensemble=arguments.ensemble,
            progress=not arguments.input.is_dir() or sys.stderr.isatty(),
        )

    def jobs(self, targets: Mapping[Path, Path]) -> dict[Path, list[Path]]:
        """The files to write for each image that has a result in `targets`, without those of a folder that are done.

        Raises UserError if a file is an input, the result of a single image exists, or a folder cannot be written.
        """
        arguments = self.arguments
        jobs = {source: self._files(target) for source, target in targets.items()}
        written = [path for files in jobs.values() for path in files]
        given = [Path(text) for text in (arguments.kernel, arguments.weights, arguments.mask) if text]
        refuse_conflicts(written, [*targets, *given])
        if not arguments.overwrite:
            existing = {path for path in written if path.is_file()}
            if existing and not arguments.input.is_dir():
                raise UserError(f"{min(existing)}: exists already; choose another --output, or --overwrite")
            jobs = {source: [path for path in files if path not in existing] for source, files in jobs.items()}
            if done := sum(not files for files in jobs.values()):
                print(f"{done} of {len(jobs)} images are done already; --overwrite restores them again")
        check_folders(path for files in jobs.values() for path in files)
        return {source: files for source, files in jobs.items() if files}

    def _files(self, target: Path) -> list[Path]:
        """All files that belong to a result."""
        files = [target]
        if self.arguments.compare:
            files.append(compare_path(target))
        if self.arguments.trace:
            files += [stage_path(target, stage) for stage in range(self.restorer.stages + 1)]
        return files

    def run(self, source: Path, target: Path, files: Sequence[Path]) -> None:
        """Restore the image file `source` and write those of its results that are in `files`, `target` last."""
        photo, mask = read_photo(source), self.arguments.mask
        if mask not in (None, "auto"):
            mask = read_mask(mask)
        orientation, trace = self.arguments.kernel_orientation, self.arguments.trace
        outcome = restore(
            self.restorer,
            photo.pixels,
            self.kernel,
            orientation,
            mask,
            stages=trace,
            where=str(source),
            noise=self.arguments.noise,
            gamma=self.arguments.gamma,
        )
        photos = {stage_path(target, n): Photo(pixels, photo.metadata) for n, pixels in enumerate(outcome.stages)}
        if self.arguments.compare:
            made = before_after(photo.pixels, outcome.pixels, outcome.kernel)
            photos[compare_path(target)] = Photo(made, Metadata())
        photos[target] = Photo(outcome.pixels, photo.metadata)
        for path, made in photos.items():
            if path in files:
                write_photo(path, made)


def before_after(before: np.ndarray, after: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Before, with the kernel inset, and after, side by side: two images of any type -> (H, 2W + 4, 3) uint8."""
    blurry = pixels_to_values(before)
    restored = pixels_to_values(after, white=blurry.white).colours
    left = with_inset(blurry.colours, kernel if kernel.ndim == 2 else kernel.mean(2))
    panels = [as_rgb(to_8bit(image)) for image in (left, restored)]
    return np.concatenate([panels[0], np.full((len(restored), 4, 3), 255, np.uint8), panels[1]], 1)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="IMAGE|FOLDER", help="PNG, JPEG, TIFF or BMP, or a folder of them")
    add("--kernel", required=True, metavar="FILE|SPEC", help="see above")
    add("--output", type=Path, required=True, metavar="PATH", help="an image file, or a folder, made if needed")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("--trace", action="store_true", help="also save every stage: <output>_x0, <output>_stage1, ...")
    add("--compare", action="store_true", help="also save before and after side by side: <output>_compare.png")

    add = parser.add_argument_group("blur").add_argument
    add(
        "--kernel-orientation",
        choices=ORIENTATIONS,
        default="auto",
        help="as-is: the kernel is cross-correlated with the image; rotated: it was made for convolution; auto "
        "(default): both are tried on the image",
    )
    add(
        "--mask",
        metavar="FILE|auto",
        help="an image, black at pixels to leave out, such as dead or saturated ones, white elsewhere; auto: clipped "
        "highlights. Compare with the result without a mask.",
    )
    add(
        "--noise",
        type=noise,
        default="auto",
        metavar="auto|PERCENT",
        help="standard deviation of the noise in percent of full scale: more gives a smoother result; auto, the "
        "default, estimates it from image and kernel",
    )

    add(
        "--gamma",
        choices=GAMMAS,
        default="auto",
        help="srgb or 2.2: restore in linear light, where a camera's blur happens: this tone curve is undone and "
        "applied again; auto, the default, is none, because a file does not say where its blur happened",
    )

    add = parser.add_argument_group("network").add_argument
    add(
        "--weights",
        default=SHIPPED,
        metavar="NAME|FILE|FOLDER",
        help=f"a preset with weights in Models/ (default: {SHIPPED}, which come with this repository), a weight file "
        "with its card <name>.yml next to it, or the folder of a training, experiments/<name>",
    )
    add("--preset", choices=sorted(PRESETS), help="the network of a weight file that has no card")
    add("--ensemble", action="store_true", help="mean over the eight flips and turns of the image: 8 times the time")
    add("--precision", choices=PRECISIONS, default="float32", help="default: float32; float16 and tf32 are for GPUs")
    add("--device", metavar="cpu|cuda|cuda:N", help="default: a GPU if there is one")

    add = parser.add_argument_group("large images").add_argument
    add(
        "--tile",
        type=side,
        default="auto",
        metavar="auto|N|off",
        help="restore in overlapping tiles of N pixels a side; auto, the default: if memory is short",
    )
    add("--memory", type=positive_number, metavar="GB", help="limit for --tile auto; default: what is free")
    return parser.parse_args(argv)


def noise(text: str) -> float | str:
    """auto or a number from 0 to 100."""
    value = text if text == "auto" else float(text)
    if value != "auto" and not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text}: a percentage from 0 to 100 is needed")
    return value


def side(text: str) -> int | str:
    """auto, off or a whole number."""
    return text if text in ("auto", "off") else positive(text)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
