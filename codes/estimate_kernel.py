"""Measure the blur kernel that codes/deblur.py needs.

    python codes/estimate_kernel.py --input blurred.png --sharp sharp.png --output kernel.png
    python codes/estimate_kernel.py --input photo.png --point 812,430 --size 41 --output kernel.png

From a pair: a sharp and a blurred picture of the same scene, from a tripod, of equal size. They may be displaced by
whole pixels and differ in exposure, but not be turned or scaled.
From a point: a star, a distant lamp or a pinhole on a dark background, which shows the kernel directly.

Writes the kernel (PNG, TIFF, .npy or .mat, made for cross-correlation as codes/test.py expects it) and an enlarged
picture of it, <output>_preview.png, and prints how well it explains the blur and the command that uses it.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# Threads that wait should sleep: spinning takes the cores away from other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.images import write_8bit
from codes.data.preparation import QUICKSTART, ensure_quickstart
from codes.restoration.image_files import read_photo
from codes.restoration.kernel_estimation import (
    KERNEL_FORMATS,
    Estimate,
    from_pair,
    from_point,
    preview,
    write_kernel_file,
)
from codes.restoration.outputs import check_folders, refuse_conflicts
from codes.utils.arguments import positive, positive_number
from codes.utils.errors import UserError, run_command_line, warn


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    target = arguments.output
    if target.suffix.lower() not in KERNEL_FORMATS or target.is_dir():
        raise UserError(f"--output {target}: a file name that ends in {', '.join(KERNEL_FORMATS)} is needed")
    if arguments.point and not arguments.size:
        raise UserError("--point needs --size N, the side in pixels of a square that holds the blurred point")
    if arguments.sharp and arguments.point_size != 1:
        raise UserError("--point-size is for --point; a pair needs no size of a light")
    files = [target, target.with_name(f"{target.stem}_preview.png")]
    refuse_conflicts(files, [path for path in (arguments.input, arguments.sharp) if path])
    if not arguments.overwrite:
        for path in files:
            if path.exists():
                raise UserError(f"{path}: exists already; choose another --output, or --overwrite")
    check_folders(files)
    if Path(os.path.abspath(arguments.input)).is_relative_to(QUICKSTART):
        ensure_quickstart(QUICKSTART)
    estimate = measure(arguments)
    write_8bit(files[1], preview(estimate.kernel))
    write_kernel_file(target, estimate.kernel)
    for line in report(arguments, estimate):
        print(line)
    return 0


def measure(arguments: argparse.Namespace) -> Estimate:
    """The kernel of the files that the arguments name. Prints warnings about it."""
    image = read_photo(arguments.input).pixels
    if arguments.point:
        estimate = from_point(image, *arguments.point, arguments.size, arguments.point_size)
    else:
        estimate = from_pair(read_photo(arguments.sharp).pixels, image, arguments.size)
    for warning in estimate.warnings:
        warn(f"{arguments.input}: {warning}")
    return estimate


def report(arguments: argparse.Namespace, estimate: Estimate) -> list[str]:
    """What is printed: the kernel, how well it explains the blur, and the next command."""
    side, (right, down) = len(estimate.kernel), estimate.shift
    lines = [f"{arguments.output}: a kernel of {side}x{side} pixels"]
    if arguments.point:
        lines.append(f"light around the point that it contains: {estimate.explained:.1%}")
    else:
        if right or down:
            lines.append(f"the blurred picture is displaced by {right},{down} pixels (right, down); not in the kernel")
        lines.append(
            f"blurred sharp picture against blurred picture: {estimate.psnr:.2f} dB, "
            f"{estimate.explained:.2%} of the variance explained"
        )
    photo = arguments.input
    result = photo.with_name(f"{photo.stem}_sharp{photo.suffix}")
    words = ["python", "codes/deblur.py", "--input", photo, "--kernel", arguments.output]
    words += ["--kernel-orientation", "as-is", "--output", result]
    return [*lines, f"next: {shlex.join(map(str, words))}"]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="IMAGE", help="the blurred picture: PNG, JPEG, TIFF or BMP")
    way = parser.add_mutually_exclusive_group(required=True).add_argument
    way("--sharp", type=Path, metavar="IMAGE", help="a sharp picture of the same scene and of the same size")
    way("--point", type=point, metavar="X,Y", help="where the blurred point is: pixels from the left, from the top")
    add(
        "--point-size",
        type=positive_number,
        default=1,
        metavar="N",
        help="diameter of the light in pixels if it were sharp; default: 1",
    )
    add("--size", type=positive, metavar="N", help="side of the kernel in pixels; default for a pair: found")
    add("--output", type=Path, required=True, metavar="FILE", help="the kernel: .png, .tif, .npy or .mat")
    add("--overwrite", action="store_true", help="replace files that exist")
    return parser.parse_args(argv)


def point(text: str) -> tuple[int, int]:
    """X,Y in whole pixels."""
    try:
        x, y = (int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not X,Y in whole pixels, such as 812,430") from None
    return x, y


if __name__ == "__main__":
    sys.exit(run_command_line(main))
