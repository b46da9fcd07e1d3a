"""How much quality a method loses with more noise, a wrong kernel, or a real border.

The blurry images are made from sharp images and kernels with the forward model of the test sets. Classical
methods get the true noise level, as in codes/test.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from statistics import fmean
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import ndimage

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import to_8bit
from codes.data.triples import TripleDataset
from codes.metrics.quality import Quality, quality
from codes.models.restorer import Restorer
from codes.options import GpuIds, Method, Name, Options
from codes.utils.errors import UserError
from codes.utils.files import from_root

# Noise in percent in the experiments that do not vary it.
BASE_NOISE = 1.0
COLUMNS = ("method", "label", "experiment", "value", "psnr", "ssim", "images")
# Beyond the frame, the outermost pixels are repeated or the true scene continues; the whole frame or its
# interior is scored.
BORDERS = tuple(f"{outside}/{scored}" for outside, scored in product(("replicate", "scene"), ("whole", "interior")))


class RobustnessOptions(Options):
    """An option file of codes/scripts/measure_robustness.py."""

    name: Name
    gpu_ids: GpuIds = "auto"
    images: PositiveInt = Field(description="Number of images, the first ones in the order of their names.")
    dataroot_GT: str = Field(description="Folder of the sharp images.")
    dataroot_KM: str = Field(description="Folder of the kernels.")
    noise: list[NonNegativeFloat] = Field(description="Standard deviations of the noise, percent of the full range.")
    kernel_shift: list[NonNegativeFloat] = Field(
        description="Shifts of the kernel in pixels, in a direction drawn for each image."
    )
    kernel_scale: list[Annotated[float, Field(gt=-100)]] = Field(
        description="Percentages by which the assumed kernel is too large."
    )
    kernel_noise: list[NonNegativeFloat] = Field(
        description="Standard deviations of the kernel's noise, percent of its maximum."
    )
    methods: dict[Name, Method]

    def points(self) -> list["Point"]:
        """Every experiment at every value, always with the exact kernel at BASE_NOISE."""
        levels = {
            "noise": sorted({*self.noise, BASE_NOISE}),
            "kernel_shift": self.kernel_shift,
            "kernel_scale": self.kernel_scale,
            "kernel_noise": self.kernel_noise,
        }
        numbers = [Point(experiment, f"{value:g}") for experiment, values in levels.items() for value in values]
        return numbers + [Point("border", value) for value in BORDERS]


@dataclass(frozen=True)
class Point:
    """One value of an experiment, as in the CSV file."""

    experiment: str
    value: str


@dataclass
class Scene:
    """A sharp image (H, W, C) uint8 and the kernel (h, w) that blurs it."""

    name: str
    sharp: np.ndarray
    kernel: np.ndarray

    @cached_property
    def blurred(self) -> np.ndarray:
        """Hx, float64 (H, W, C), without noise."""
        return blurred(self.sharp / 255.0, self.kernel)

    def seed(self, *parts: object) -> int:
        return seed_of("robustness", self.name, *parts)


@dataclass
class Trial:
    """The input of a method, and the image that its result is compared with.

    truth, blurry: (H, W, C) uint8. kernel: (h, w), the assumed one. noise_sigma: standard deviation of the noise.
    crop_border: pixels at each side that are not scored.
    """

    truth: np.ndarray
    blurry: np.ndarray
    kernel: np.ndarray
    noise_sigma: float
    crop_border: int = 0


def read_scenes(options: RobustnessOptions) -> list[Scene]:
    """The first images with their kernels. Raises UserError if these are missing or do not pair up."""
    truths, kernels = from_root(options.dataroot_GT), from_root(options.dataroot_KM)
    for folder in (truths, kernels):
        if not folder.is_dir():
            raise UserError(f"{folder} is missing (python codes/scripts/prepare_datasets.py --source DIR makes it)")
    dataset = TripleDataset(truths, truths, kernels)  # The blurry images are made here.
    triples = [dataset[index] for index in range(min(options.images, len(dataset)))]
    return [Scene(triple.name, to_8bit(triple.ground_truth), triple.kernel) for triple in triples]


def trial(scene: Scene, point: Point) -> Trial:
    """The trial of a scene at one point."""
    truth, clean, kernel = scene.sharp, scene.blurred, scene.kernel
    noise, crop_border = BASE_NOISE, 0
    match point.experiment:
        case "noise":
            noise = float(point.value)
        case "kernel_shift":
            angle = np.random.RandomState(scene.seed("direction")).uniform(0, 2 * np.pi)
            kernel = shifted(kernel, float(point.value), angle)
        case "kernel_scale":
            kernel = rescaled(kernel, 1 + float(point.value) / 100)
        case "kernel_noise":
            kernel = noisy(kernel, float(point.value) / 100, scene.seed("kernel noise"))
        case "border":  # a frame inside the scene, so that the true pixels beyond the frame are known
            outside, scored = point.value.split("/")
            top, left = (side // 2 for side in kernel.shape)
            frame = (slice(top, truth.shape[0] - top), slice(left, truth.shape[1] - left))
            truth = truth[frame]
            clean = clean[frame] if outside == "scene" else blurred(truth / 255.0, kernel)
            crop_border = max(top, left) if scored == "interior" else 0
    blurry = with_noise(clean, noise / 100, scene.seed("noise", f"{noise:g}"))
    return Trial(truth, blurry, kernel, noise / 100, crop_border)


# --- wrong kernels. They may be larger than the true one; their centre stays at the same place of the image.


def shifted(kernel: np.ndarray, pixels: float, angle: float) -> np.ndarray:
    """The kernel moved by `pixels` in the direction `angle` (radians, 0 is to the right), by cubic splines."""
    padded = np.pad(kernel, math.ceil(pixels) + 1)
    step = (pixels * math.sin(angle), pixels * math.cos(angle))
    return _as_kernel(ndimage.shift(padded, step, order=3))


def rescaled(kernel: np.ndarray, factor: float) -> np.ndarray:
    """The kernel `factor` times as large about its centre of mass, by cubic splines."""
    padded = np.pad(kernel, math.ceil(max(kernel.shape) * max(factor - 1, 0)))
    centre = np.array(ndimage.center_of_mass(padded))
    return _as_kernel(ndimage.affine_transform(padded, [1 / factor] * 2, centre - centre / factor, order=3))


def noisy(kernel: np.ndarray, level: float, seed: int) -> np.ndarray:
    """The kernel with Gaussian noise of `level` times its maximum at every pixel."""
    noise = np.random.RandomState(seed).standard_normal(kernel.shape)
    return _as_kernel(kernel + level * kernel.max() * noise)


def _as_kernel(values: np.ndarray) -> np.ndarray:
    """Cut off negative values and scale to a sum of 1."""
    values = np.maximum(values, 0)
    return values / values.sum()


# --- scores


def score(restorer: Restorer, given: Trial) -> Quality:
    """Restore and score, as for the tables. Raises UserError if the image has values that are not finite."""
    image = restorer.restore(given.blurry / np.float32(255), given.kernel, given.noise_sigma).image
    if not np.isfinite(image).all():
        raise UserError("the restored image has values that are not finite")
    return quality(given.truth, to_8bit(image), given.crop_border)


def row(method: str, label: str, point: Point, scores: Sequence[Quality]) -> dict[str, str]:
    """A row of robustness.csv with the means over the images."""
    psnr, ssim = (fmean(getattr(one, key) for one in scores) for key in ("psnr", "ssim"))
    values = (method, label, point.experiment, point.value, f"{psnr:.4f}", f"{ssim:.6f}", str(len(scores)))
    return dict(zip(COLUMNS, values, strict=True))
