"""How well the noise level of a photograph is estimated: PSNR lost against the best level, for kinds of degradation.

    python studies/noise_level.py        # about five minutes on an idle core

Crops of the 20 validation images are blurred, degraded and restored by DSDNet-Tiny at several noise levels. The level
with the highest PSNR is the best one. Writes noise_level.csv.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
import torch
from tqdm import tqdm

from codes.data.degradation import blurred, seed_of
from codes.data.images import list_images, read_image, to_8bit
from codes.data.kernel_generator import camera_shake, disk, gaussian, motion
from codes.inference.noise_level import noise_level
from codes.inference.restorer import Restorer
from codes.models.noise import estimate_noise
from codes.restoration.networks import load_network
from codes.utils.errors import run_command_line
from studies.harness import parser, publish

# Side of the crops in pixels, and the noise levels at which each is restored.
SIDE = 128
LEVELS = (0.004, 0.007, 0.012, 0.02, 0.034, 0.055)
Random = np.random.RandomState


def white(image: np.ndarray, random: Random, sigma: float) -> np.ndarray:
    return image + sigma * random.standard_normal(image.shape)


def denoised(image: np.ndarray, random: Random) -> np.ndarray:
    sigma = 10 ** random.uniform(-2.1, -1.4)
    noisy = to_8bit(image + sigma * random.standard_normal(image.shape))
    return cv2.fastNlMeansDenoisingColored(noisy, None, 255 * sigma, 255 * sigma, 5, 11) / 255


def jpeg(image: np.ndarray, random: Random, quality: int, noise: float) -> np.ndarray:
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)[random.randint(2)]
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, file = cv2.imencode(".jpg", to_8bit(white(image, random, noise)), settings)
    return cv2.imdecode(file, cv2.IMREAD_COLOR) / 255


KINDS = {
    "JPEG 85": partial(jpeg, quality=85, noise=0),
    "JPEG 95": partial(jpeg, quality=95, noise=0),
    "JPEG 85, 1 % noise": partial(jpeg, quality=85, noise=0.01),
    "JPEG 95, 1 % noise": partial(jpeg, quality=95, noise=0.01),
    "PNG, 1 % noise": partial(white, sigma=0.01),
    "PNG, 3 % noise": partial(white, sigma=0.03),
    "PNG, 5 % noise": partial(white, sigma=0.05),
    "denoised (non-local means)": denoised,
}


def draw_kernel(random: Random) -> np.ndarray:
    """Camera shake, straight motion, Gaussian or disk, of 5 to 35 pixels."""
    kind = random.choice(4, p=(0.6, 0.15, 0.1, 0.15))
    if kind == 0:
        return camera_shake(random, 2 * random.randint(4, 18) + 1)
    if kind == 1:
        return motion(random.uniform(4, 25), random.uniform(0, 180))
    return gaussian(19, random.uniform(1, 3)) if kind == 2 else disk(17, random.uniform(1.5, 7))


def main(argv: Sequence[str]) -> int:
    arguments = parser(__doc__).parse_args(argv)
    restorer = Restorer(load_network().network, precision="bfloat16")
    rows = []
    for name, degrade in KINDS.items():
        losses = [
            losses_of(restorer, path, name, degrade) for path in tqdm(list_images(arguments.data / "Validation/GT"))
        ]
        means = {key: f"{np.mean([loss[key] for loss in losses]):.2f}" for key in losses[0]}
        rows.append({"degradation": name, "images": len(losses), **means})
    publish(arguments.output, "noise_level", rows)
    return 0


def losses_of(restorer: Restorer, path: Path, name: str, degrade: Callable[..., np.ndarray]) -> dict[str, float]:
    """PSNR in dB that each way to choose the noise level loses against the best level, on one image."""
    random = Random(seed_of(path.stem, name))
    kernel = draw_kernel(random)
    sharp = read_image(path).astype(np.float64)
    top, left = (random.randint(length - SIDE + 1) for length in sharp.shape[:2])
    window = slice(top, top + SIDE), slice(left, left + SIDE)
    truth, blurry = sharp[window], (to_8bit(degrade(blurred(sharp, kernel)[window], random)) / 255).astype(np.float32)
    psnr = [
        -10 * np.log10(np.mean((restorer.restore(blurry, kernel, sigma=level).image.clip(0, 1) - truth) ** 2))
        for level in LEVELS
    ]
    levels = {
        "finest details": float(estimate_noise(torch.from_numpy(blurry).permute(2, 0, 1)[None])),
        "noise_level": noise_level(blurry, kernel),
        "always 1 %": 0.01,
        "always 2 %": 0.02,
    }
    return {
        key: max(psnr) - float(np.interp(np.log(max(level, 1e-6)), np.log(LEVELS), psnr))
        for key, level in levels.items()
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
