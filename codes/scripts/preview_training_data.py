"""Draw the training data of an option file: a sheet of kernels, blurry patches and sharp patches.

    python codes/scripts/preview_training_data.py -opt options/train/tiny_further.yml --out preview.png

The sheet shows the first samples of the training, with each kernel scaled to its maximum, as the network gets it.
Below them is a row for each step of the camera that the option file uses: the first samples with this step alone.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import to_8bit, write_8bit
from codes.data.patch_options import CAMERA_STEPS
from codes.data.patches import Request, Sample, TrainingPatches
from codes.data.preparation import ensure_quickstart
from codes.options import load_options
from codes.training.options import TrainOptions
from codes.utils.errors import run_command_line
from codes.utils.files import from_root

COLUMNS = 10
KERNEL_ROWS, PATCH_ROWS = 4, 3
# Side of a kernel or patch on the sheet, and the white gap between two of them, in pixels.
TILE, GAP = 128, 4


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--out", type=Path, default=Path("preview.png"), help="default: preview.png")
    arguments = parser.parse_args(argv)
    options = load_options(TrainOptions, arguments.opt, arguments.set)
    train_set = options.datasets.train
    if train_set.embedded:
        ensure_quickstart(from_root(train_set.dataroot_GT).parent)
    patches = TrainingPatches(train_set, from_root(train_set.dataroot_GT), options.train.manual_seed)
    samples = [patches[Request(number, train_set.GT_size)] for number in range(KERNEL_ROWS * COLUMNS)]
    steps = {}
    for step in (step for step in CAMERA_STEPS if getattr(train_set.camera, step)):
        patches.options = train_set.model_copy(update={"camera": train_set.camera.only(step)})
        steps[step] = [patches[Request(number, train_set.GT_size)] for number in range(COLUMNS)]
    write_8bit(arguments.out, patch_sheet(samples, steps))
    rows = f"{KERNEL_ROWS} rows of kernels, blurry patches with the sharp ones below them"
    print(f"{arguments.out}: {', '.join([rows, *steps])}")
    return 0


def patch_sheet(samples: Sequence[Sample], steps: Mapping[str, Sequence[Sample]]) -> np.ndarray:
    """The sheet (H, W, 3) uint8. steps: samples with one step of the camera."""
    groups = [samples[first : first + COLUMNS] for first in range(0, len(samples), COLUMNS)]
    rows = [[kernel_picture(sample) for sample in group] for group in groups]
    for group in groups[:PATCH_ROWS]:
        rows += [[sample.blurry for sample in group], [sample.sharp for sample in group]]
    for step, group in steps.items():
        rows.append([kernel_picture(sample) if step == "wrong_kernel" else sample.blurry for sample in group])
    return np.concatenate([np.concatenate([tile(image) for image in row], 1) for row in rows])


def kernel_picture(sample: Sample) -> Tensor:
    """The kernel as an image (3, h, w), scaled to its maximum."""
    return (sample.kernel / sample.kernel.max()).expand(3, -1, -1)


def tile(image: Tensor) -> np.ndarray:
    """An image (3, H, W) scaled to a tile with square pixels, with a white gap on the right and below."""
    scaled = cv2.resize(to_8bit(image.permute(1, 2, 0).numpy()), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    return np.pad(scaled, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
