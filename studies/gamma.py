"""What restoration in linear light brings, by where the image was blurred.

    python studies/gamma.py

Crops of 160 pixels of the held-out images are blurred with camera shakes of 9 to 31 pixels, in linear light (sRGB) or
as the file's values, with 0.5 and 1 percent noise, and rounded to 8 bit. Each is restored with --gamma none and srgb.
Writes the mean PSNR (dB) to results/published/gamma.csv.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import list_images, read_image, to_8bit
from codes.data.kernel_generator import camera_shake
from codes.evaluation.metrics import psnr
from codes.restoration.gamma import to_light, to_values
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.errors import run_command_line
from studies import harness

SIDE = 160
SIZES = (9, 13, 15, 19, 21, 25, 27, 31)
NOISES = (0.005, 0.01)


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    arguments = parser.parse_args(argv)
    network = load_network(arguments.weights).network
    paths = list_images(arguments.data / "Validation" / "GT")
    rows = []
    for where, blur_gamma in (("values", "none"), ("linear light", "srgb")):
        scores: dict[str, list[float]] = {"blurry": [], "none": [], "srgb": []}
        for number, (path, size) in enumerate(tqdm(list(zip(paths[::2], SIZES, strict=False)), desc=where)):
            image, kernel = window(read_image(path), size // 2), camera_shake(np.random.RandomState(number), size)
            inner = slice(size // 2, size // 2 + SIDE)
            clean = to_values(blurred(to_light(image, blur_gamma), kernel), blur_gamma)[inner, inner]
            truth = to_8bit(image[inner, inner])
            for noise in NOISES:
                blurry = with_noise(clean, noise, seed_of("gamma", path.stem, noise))
                scores["blurry"].append(psnr(truth, blurry))
                for gamma in ("none", "srgb"):
                    light = to_light(np.float32(blurry) / 255, gamma)
                    restored = to_values(harness.restored(network, light, kernel), gamma)
                    scores[gamma].append(psnr(truth, to_8bit(restored)))
        rows.append({"blurred_in": where} | {key: f"{fmean(values):.2f}" for key, values in scores.items()})
    harness.publish(arguments.output, "gamma", rows)
    return 0


def window(image: np.ndarray, margin: int) -> np.ndarray:
    """The middle of an image, SIDE pixels and a margin on each side."""
    side = SIDE + 2 * margin
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


if __name__ == "__main__":
    sys.exit(run_command_line(main))
