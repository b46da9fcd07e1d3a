"""Fit the weight of `init: adaptive` on training images.

    python codes/scripts/fit_initialisation.py --images Datasets/Train/GT

For each noise level the weight of the inverse filter that gives the best mean PSNR is looked
up on a grid, and a line is fitted to log(weight) over log(estimated noise). Its slope and its
value at 1 percent are the constants of AdaptiveInitialisation (codes/models/archs/initialisation.py).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import seed_of
from codes.data.images import list_images, read_image
from codes.data.kernel_generator import camera_shake
from codes.models.archs.blur import Blur
from codes.models.archs.initialisation import AdaptiveInitialisation
from codes.models.archs.noise import estimate_noise
from codes.utils.errors import run_command_line

SIGMAS = (0.005, 0.01, 0.02, 0.03, 0.05)
WEIGHTS = np.geomspace(0.0005, 0.5, 31)
KERNEL_SIZES = (13, 17, 21, 27, 35)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of sharp training images")
    parser.add_argument("--count", type=int, default=20, help="images to use, spread over the folder; default: 20")
    arguments = parser.parse_args(argv)
    paths = list_images(arguments.images)
    paths = paths[:: max(1, len(paths) // arguments.count)][: arguments.count]
    initialise = AdaptiveInitialisation()
    best, estimated = [], []
    for sigma in SIGMAS:
        psnr = np.zeros(len(WEIGHTS))
        levels = []
        for i, path in enumerate(paths):
            sharp, blurry, kernel = degraded(path, KERNEL_SIZES[i % len(KERNEL_SIZES)], sigma)
            levels.append(float(estimate_noise(blurry)))
            for j, weight in enumerate(WEIGHTS):
                error = initialise.inverse(blurry, kernel, torch.tensor([weight], dtype=torch.float32)) - sharp
                psnr[j] -= 10 * np.log10(float(error.square().mean())) / len(paths)
        estimated.append(float(np.median(levels)))
        best.append(WEIGHTS[psnr.argmax()])
        print(f"sigma {sigma:.3f}, estimated {estimated[-1]:.4f}: weight {best[-1]:.4f}, PSNR {psnr.max():.2f} dB")
    exponent, offset = np.polyfit(np.log(np.array(estimated) / 0.01), np.log(best), 1)
    print(f"weight_at_1_percent = {np.exp(offset):.4f}\nexponent = {exponent:.3f}")
    return 0


def degraded(path: Path, kernel_size: int, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sharp and blurry image (1, 3, H, W) and kernel (1, h, w), as the test sets are made, 8-bit rounding included."""
    random = np.random.RandomState(seed_of(path.name))
    sharp = torch.from_numpy(read_image(path).transpose(2, 0, 1).copy())[None]
    kernel = torch.from_numpy(camera_shake(random, kernel_size).astype(np.float32))[None]
    noise = torch.from_numpy(random.standard_normal(sharp.shape).astype(np.float32))
    blurry = Blur(kernel, sharp.shape[-2:])(sharp) + sigma * noise
    return sharp, blurry.clamp(0, 1).mul(255).round().div(255), kernel


if __name__ == "__main__":
    sys.exit(run_command_line(main))
