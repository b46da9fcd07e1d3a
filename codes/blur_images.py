"""Make a test set from sharp images: blur them, add noise, and store the kernels.

    python codes/blur_images.py --input photos/ --output Datasets/Own --kernel shake:25 --noise 1

Writes GT/, Blurry/ and Kernel/ in the output folder, 8-bit PNG files with the names of the images, ready for
codes/test.py and codes/deblur.py. The blurry image is H x + noise with the stored kernel, which is cross-correlated
with the image; its border is replicated.

Kernels:
    shake:SIZE            random camera shake on SIZE x SIZE pixels, another one for each image
    motion:LENGTH,ANGLE   a straight motion, the angle in degrees, counter-clockwise from the horizontal
    gaussian:SIGMA        a Gaussian blur
    disk:RADIUS           out of focus
    FILE or FOLDER        kernel files; the images use those of a folder in turn
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import list_images, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake
from codes.data.kernels import KERNEL_SUFFIXES, check_fits, normalised, read_kernel, write_kernel
from codes.restoration.image_files import read_photo
from codes.restoration.kernel_spec import parse_kernel
from codes.restoration.pixels import pixels_to_values
from codes.utils.errors import UserError, run_command_line
from codes.utils.progress import Progress
from codes.utils.yaml_files import to_yaml

FOLDERS = ("GT", "Blurry", "Kernel")
# The keys of the three folders in an option file of codes/test.py.
KEYS = ("dataroot_GT", "dataroot_LQ", "dataroot_KM")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, metavar="FOLDER", help="sharp images")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="a new or empty folder")
    parser.add_argument("--kernel", default="shake:25", metavar="SPEC|FILE|FOLDER", help="default: shake:25")
    parser.add_argument("--noise", type=float, default=1, metavar="PERCENT", help="of full scale; default: 1")
    parser.add_argument("--seed", type=int, default=0, help="of kernels and noise; default: 0")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.noise <= 100:
        raise UserError(f"--noise {arguments.noise:g}: 0 to 100 percent are possible")
    if arguments.output.resolve() == arguments.input.resolve():
        raise UserError(f"--output {arguments.output}: is the folder of the sharp images; choose another one")
    images = list_images(arguments.input)
    stems = [path.stem for path in images]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise UserError(f"{arguments.input}: holds two images called {twice[0]}; rename one of them")
    kernels = make_kernels(arguments.kernel, stems, arguments.seed)
    folders = [arguments.output.resolve() / name for name in FOLDERS]
    for folder in folders:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: is not empty; choose another --output")
    with Progress(len(images), "images") as progress:
        for path, kernel in zip(images, kernels, strict=False):
            write_triple(path, kernel, arguments.noise / 100, seed_of("noise", path.stem, seed=arguments.seed), folders)
            progress.update()
    print("In an option file of codes/test.py, under datasets:")
    name = re.sub(r"^\W|[^\w.+-]", "_", arguments.output.resolve().name)  # a name of a set may have these only
    entry = {"name": name, "mode": "LQGTDB", **dict(zip(KEYS, map(str, folders), strict=True))}
    print(textwrap.indent(to_yaml({"own": entry}), "  "), end="")
    return 0


def make_kernels(text: str, names: Sequence[str], seed: int) -> Iterator[np.ndarray]:
    """A kernel (h, w) for each image. Raises UserError for a file that is not a kernel."""
    kind, _, number = text.partition(":")
    if kind == "shake" and not Path(text).exists():
        if not number.isdecimal() or not 5 <= int(number) <= 501 or int(number) % 2 == 0:
            raise UserError(f"--kernel {text}: shake:SIZE needs an odd number from 5 to 501, such as shake:25")
        seeds = (seed_of("kernel", name, seed=seed) for name in names)
        return (camera_shake(np.random.RandomState(one), int(number)) for one in seeds)
    if Path(text).is_dir():
        return cycle([read_kernel(path) for path in list_images(text, KERNEL_SUFFIXES)])
    return cycle([normalised(parse_kernel(text), text)])


def write_triple(path: Path, kernel: np.ndarray, sigma: float, seed: int, folders: Sequence[Path]) -> None:
    """Write ground truth, blurry image and kernel of a sharp image. Raises UserError for a kernel larger than it."""
    # Photographs are read upright, as a viewer shows them.
    sharp = to_8bit(pixels_to_values(read_photo(path).pixels, str(path), white=1).colours)
    check_fits(kernel, sharp, path)
    truth_path, blurry_path, kernel_path = (folder / f"{path.stem}.png" for folder in folders)
    stored = write_kernel(kernel_path, kernel)
    write_8bit(blurry_path, with_noise(blurred(sharp / 255, stored), sigma, seed))
    write_8bit(truth_path, sharp)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
