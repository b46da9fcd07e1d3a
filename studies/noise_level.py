"""How well the noise level of a photograph is estimated: PSNR lost against the best level, for kinds of degradation.

    python studies/noise_level.py        # about half an hour on one core

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
SIDE = 144
LEVELS = (0.003, 0.006, 0.01, 0.017, 0.028, 0.045, 0.075)
Random = np.random.RandomState


def white(image: np.ndarray, random: Random, sigma: float | None = None) -> np.ndarray:
    sigma = 10 ** random.uniform(-2.6, -1.2) if sigma is None else sigma
    return image + sigma * random.standard_normal(image.shape)


def poisson(image: np.ndarray, random: Random) -> np.ndarray:
    variance = 10 ** random.uniform(-4.5, -2.5) * np.maximum(image, 0) + 10 ** random.uniform(-6, -4)
    return image + np.sqrt(variance) * random.standard_normal(image.shape)


def grain(image: np.ndarray, random: Random) -> np.ndarray:
    noise = cv2.GaussianBlur(random.standard_normal(image.shape), (0, 0), random.uniform(0.4, 1.0))
    return image + 10 ** random.uniform(-2.3, -1.5) * noise / noise.std()


def denoised(image: np.ndarray, random: Random) -> np.ndarray:
    sigma = 10 ** random.uniform(-2.1, -1.4)
    noisy = to_8bit(image + sigma * random.standard_normal(image.shape))
    return cv2.fastNlMeansDenoisingColored(noisy, None, 255 * sigma, 255 * sigma, 5, 11) / 255


def halved(image: np.ndarray, random: Random) -> np.ndarray:
    noisy = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    noisy = noisy + 10 ** random.uniform(-2, -1.2) * random.standard_normal(noisy.shape)
    return cv2.resize(noisy, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray, random: Random, least: int = 60, most: int = 98, noise: float | None = None) -> np.ndarray:
    noise = random.choice([0, 0.005, 0.01, 0.02]) if noise is None else noise
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)[random.randint(2)]
    settings = [cv2.IMWRITE_JPEG_QUALITY, random.randint(least, most + 1), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, file = cv2.imencode(".jpg", to_8bit(image + noise * random.standard_normal(image.shape)), settings)
    return cv2.imdecode(file, cv2.IMREAD_COLOR) / 255


KINDS = {
    "white noise": white,
    "white noise 1 %": partial(white, sigma=0.01),
    "white noise 3 %": partial(white, sigma=0.03),
    "white noise 5 %": partial(white, sigma=0.05),
    "Poisson-Gaussian": poisson,
    "film grain": grain,
    "denoised": denoised,
    "halved": halved,
    "JPEG 60 to 98": jpeg,
    "JPEG 85": partial(jpeg, least=85, most=85, noise=0),
    "JPEG 95": partial(jpeg, least=95, most=95, noise=0),
    "JPEG 85, 1 % noise": partial(jpeg, least=85, most=85, noise=0.01),
    "JPEG 95, 1 % noise": partial(jpeg, least=95, most=95, noise=0.01),
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
