"""How much quality a method loses with more noise, a wrong kernel, or a real border.

    python studies/robustness.py
    python studies/robustness.py --quick

The blurry images are made from sharp images and kernels with the forward model of the test sets. Classical
methods get the true noise level, as in codes/test.py. Writes results/robustness/robustness.csv and
fig/robustness.png. If it is interrupted, the same command continues; a method whose options, weights or images have
changed is measured again. --quick: two images, few values, everything goes to results/quick/robustness/.
"""

import argparse
import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import ndimage
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import to_8bit
from codes.data.triples import TripleDataset
from codes.evaluation.metrics import Quality, quality
from codes.evaluation.run import COMPLETE, is_missing, open_method
from codes.inference.restorer import Restorer
from codes.options import GpuIds, Method, Name, Options, dump_options, load_options
from codes.utils.devices import choose_device
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import PUBLISHED, ROOT, from_root, read_csv, write_csv, write_text
from codes.utils.plots import STYLE, save
from codes.utils.processes import Processes
from codes.utils.yaml_files import read_yaml, to_yaml
from studies.figures.page import NothingToDrawError, colours, finished_or_published

OPTION_FILE = ROOT / "options" / "robustness.yml"
QUICK = ("images=2", "noise=[5]", "kernel_shift=[1]", "kernel_scale=[-10, 10]", "kernel_noise=[5]")
# Noise in percent in the experiments that do not vary it.
BASE_NOISE = 1.0
COLUMNS = ("method", "label", "experiment", "value", "psnr", "ssim", "images")
# Beyond the frame, the outermost pixels are repeated or the true scene continues; the whole frame or its
# interior is scored.
BORDERS = tuple(f"{outside}/{scored}" for outside, scored in product(("replicate", "scene"), ("whole", "interior")))
# Rows of robustness.csv by column.
Rows = Sequence[Mapping[str, str]]
# Label of each panel's axis, by experiment.
PANELS = {
    "noise": "noise of the image (%)",
    "kernel_shift": "kernel shifted by (pixels)",
    "kernel_scale": "kernel too large by (%)",
    "kernel_noise": "noise of the kernel (% of its maximum)",
}
# One label for each of BORDERS: what is beyond the border, and which pixels are scored.
BORDER_LABELS = ("replicated,\nwhole", "replicated,\ninterior", "true scene,\nwhole", "true scene,\ninterior")


class RobustnessOptions(Options):
    """An option file of this study."""

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


# --- measuring


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", type=Path, default=OPTION_FILE, metavar="FILE", help="default: options/robustness.yml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--quick", action="store_true", help="two images, few values")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--target", type=Path, default=ROOT / "fig", help="folder of the figure, default: fig")
    arguments = parser.parse_args(argv)
    options = load_options(RobustnessOptions, arguments.opt, [*(QUICK if arguments.quick else ()), *arguments.set])
    folder = arguments.results / ("quick" if arguments.quick else "") / options.name
    rows = measure(options, folder)
    target = folder if arguments.quick else arguments.target
    draw(rows, target / "robustness.png")
    print(f"{folder / 'robustness.csv'}: {len(rows)} rows; {target / 'robustness.png'}: drawn")
    return 0


def measure(options: RobustnessOptions, folder: Path) -> list[dict[str, str]]:
    """The rows of robustness.csv: every method at every point. Rows that `folder` already holds are kept.

    COMPLETE is written at the end: its presence marks a complete table.
    """
    scenes, points = read_scenes(options), options.points()
    restorers = open_methods(options)
    identities = {name: identity(options.methods[name], scenes) for name in restorers}
    wanted = [(name, point) for name in restorers for point in points]
    before = earlier_rows(folder, identities)
    rows = {key: before[key] for key in wanted if key in before}
    (folder / COMPLETE).unlink(missing_ok=True)
    write_text(folder / "methods.yml", to_yaml(identities))
    with tqdm(total=(len(wanted) - len(rows)) * len(scenes), unit="image") as bar:
        for point in points:
            missing = [name for name in restorers if (name, point) not in rows]
            trials = [trial(scene, point) for scene in scenes] if missing else []
            for name in missing:
                bar.set_description(f"{point.experiment} {point.value}")
                scores = []
                for scene, given in zip(scenes, trials, strict=True):
                    try:
                        scores.append(score(restorers[name], given))
                    except UserError as error:
                        raise UserError(f"{name}: {point.experiment} {point.value}: {scene.name}: {error}") from None
                    bar.update()
                rows[name, point] = row(name, options.methods[name].label or name, point, scores)
                write_csv(folder / "robustness.csv", [rows[key] for key in wanted if key in rows], COLUMNS)
    table = [rows[key] for key in wanted]
    write_csv(folder / "robustness.csv", table, COLUMNS)
    write_text(folder / COMPLETE, dump_options(options))
    return table


def open_methods(options: RobustnessOptions) -> dict[str, Restorer]:
    """The methods with their weights. A method whose weight file is missing is skipped with a warning."""
    device = choose_device(options.gpu_ids)
    restorers = {}
    for name, method in options.methods.items():
        if not is_missing(name, method, Processes()):
            network = open_method(method)
            restorers[name] = Restorer(network, device)
    if not restorers:
        raise UserError("no method is left to measure")
    return restorers


def identity(method: Method, scenes: Sequence[Scene]) -> str:
    """A hash of everything that a method's rows depend on: its options and weights, the images and kernels."""
    path = method.path.pretrain_model_G
    parts = [dump_options(method).encode(), from_root(path).read_bytes() if path else b""]
    parts += [array.tobytes() for scene in scenes for array in (scene.sharp, scene.kernel)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def earlier_rows(folder: Path, identities: dict[str, str]) -> dict[tuple[str, Point], dict[str, str]]:
    """The rows that an earlier run with the same methods left in `folder`, by method and point."""
    table, marker = folder / "robustness.csv", folder / "methods.yml"
    if not table.is_file() or not marker.is_file():
        return {}
    before = read_yaml(marker)
    same = {name for name, value in identities.items() if before.get(name) == value}
    rows = [row for row in read_csv(table) if row["method"] in same]
    return {(row["method"], Point(row["experiment"], row["value"])): row for row in rows}


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


# --- the figure


def finished(results: Path) -> Rows:
    """The rows in `results` if they are complete, else the published ones.

    Raises NothingToDrawError if there are none.
    """
    folder = finished_or_published(results, "robustness")
    path = PUBLISHED / "robustness.csv" if folder.parent == PUBLISHED else folder / "robustness.csv"
    if not path.is_file():
        raise NothingToDrawError("no measurement; first: python studies/robustness.py")
    return read_csv(path)


def draw(rows: Rows, target: Path) -> None:
    """Draw one panel for each experiment to `target`."""
    labels = {row["method"]: row["label"] for row in rows}
    colour = colours(labels)
    with plt.rc_context(STYLE):
        page, grid = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained")
        *panels, border, legend = grid.flat
        for method, label in labels.items():
            style = {"color": colour[method], "markersize": 4, "label": label}
            for axes, experiment in zip(panels, PANELS, strict=True):
                axes.plot(*_curve(rows, method, experiment), "o-", **style)
            psnr = {row["value"]: float(row["psnr"]) for row in _rows_of(rows, method, "border")}
            border.plot(range(len(BORDERS)), [psnr[value] for value in BORDERS], "o", **style)
        for axes, label in zip(panels, PANELS.values(), strict=True):
            axes.set_xlabel(label)
        border.set_xticks(range(len(BORDERS)), BORDER_LABELS, fontsize=8)
        border.margins(x=0.15)
        for axes in grid[:, 0]:
            axes.set_ylabel("PSNR (dB)")
        legend.set_axis_off()
        legend.legend(*border.get_legend_handles_labels(), loc="center left", title=_caption(rows), alignment="left")
        save(page, target)


def _caption(rows: Rows) -> str:
    images = "/".join(sorted({row["images"] for row in rows}, key=int))
    return f"Means of {images} images,\n{BASE_NOISE:g} % noise except in the first panel"


def _rows_of(rows: Rows, method: str, experiment: str) -> Rows:
    return [row for row in rows if (row["method"], row["experiment"]) == (method, experiment)]


def _curve(rows: Rows, method: str, experiment: str) -> tuple[list[float], list[float]]:
    """The sorted values and their PSNR. The exact kernel (value 0) is the experiment `noise` at BASE_NOISE."""
    points = {float(row["value"]): float(row["psnr"]) for row in _rows_of(rows, method, experiment)}
    if experiment != "noise":
        points[0.0] = next(float(r["psnr"]) for r in _rows_of(rows, method, "noise") if float(r["value"]) == BASE_NOISE)
    values = sorted(points)
    return values, [points[value] for value in values]


if __name__ == "__main__":
    sys.exit(run_command_line(main))
