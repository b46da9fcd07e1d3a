"""Fit the constants of codes/restoration/orientation.py on the validation images.

    python codes/scripts/fit_orientation.py

Every validation image is taken at several noise levels, in colour and grey, and with clipped
highlights; with its kernel, with two others, and, sharp, with a kernel that never blurred it. Writes what
each case shows to results/published/orientation_fit.csv, and what crops of several sizes show with their kernel to
orientation_crops.csv, by which the certainty is fitted; orientation_sizes.csv has how often the side is right, by size.
Prints the constants and how right the checks are. Both checks are judged by fits that leave the judged images out.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import blurred, seed_of
from codes.data.images import to_8bit
from codes.data.triples import TripleDataset
from codes.restoration.orientation import FEWEST_GRADIENTS, SURE, gather, is_symmetric
from codes.utils.arguments import positive
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_csv

CASES = ROOT / "results" / "published" / "orientation_fit.csv"
COLUMNS = ("condition", "image", "kernel", "contrast", "overshoot")
CROPS = ROOT / "results" / "published" / "orientation_crops.csv"
CROP_COLUMNS = ("size", "condition", "image", "contrast", "gradients")
SIZES = ROOT / "results" / "published" / "orientation_sizes.csv"
SIZE_COLUMNS = ("crop", "images", "right", "sure", "right_of_sure", "mean_certainty")
SIDES = (32, 48, 64, 96, 128, 192, 256)
"""Of the crops, in pixels."""
OTHERS = (7, 11)
"""The other kernels of an image are those of the images so many places on."""
FALSE_ALARMS = 0.05
FOLDS = 5
"""Parts of the images, each of which is judged by the certainty that is fitted to the others."""


def photographs(count: int) -> Iterator[tuple[str, int, np.ndarray, np.ndarray, np.ndarray]]:
    """(condition, number, blurry, what is blurred in it, kernel) of the first `count` images, from 0 to 1."""
    for name, level in (
        ("Validation", 1),
        ("Validation", 3),
        ("Validation", 5),
        ("ValidationGrey", 1),
        ("ValidationGrey", 5),
    ):
        folder = ROOT / "Datasets" / name
        dataset = TripleDataset(folder / "GT", folder / f"Noise_{level:02d}", folder / "Kernel")
        for number in range(min(count, len(dataset))):
            triple = dataset[number]
            yield (
                f"{name}_n{level:02d}",
                number,
                triple.blurry,
                with_noise(triple.ground_truth, level, number),
                triple.kernel,
            )
            if (name, level) == ("Validation", 1):
                for condition, share in (
                    ("little_noise", 0.0),
                    ("clipped_5_percent", 0.05),
                    ("clipped_20_percent", 0.2),
                ):
                    sharp = brightened(triple.ground_truth, share)
                    clean = blurred(sharp, triple.kernel)
                    yield (
                        condition,
                        number,
                        with_noise(clean, 0.3, number),
                        with_noise(sharp, 0.3, number),
                        triple.kernel,
                    )


def brightened(image: np.ndarray, share: float) -> np.ndarray:
    """The image with this share of its pixels beyond 1, up to some times 1."""
    if not share:
        return image
    image = image / np.quantile(image.mean(2), 1 - share)
    return np.where(image > 1, 1 + 4 * (image - 1), image)


def with_noise(image: np.ndarray, percent: float, number: int) -> np.ndarray:
    """As an 8-bit file with Gaussian noise would hold it, from 0 to 1."""
    noise = np.random.RandomState(seed_of("orientation", number)).standard_normal(image.shape)
    return to_8bit(image + percent / 100 * noise) / np.float32(255)


def cases(count: int) -> Iterator[dict[str, object]]:
    """One row of COLUMNS a case; the kernel is `right`, `other`, or of a sharp image `no blur`."""
    everything = list(photographs(count))
    kernels = {number: kernel for _, number, _, _, kernel in everything}
    for condition, number, blurry, sharp, kernel in tqdm(everything, unit=" images"):
        tried = [("right", blurry, kernel), ("no blur", sharp, kernel)]
        tried += [("other", blurry, kernels[(number + step) % len(kernels)]) for step in OTHERS]
        for name, image, tested in tried:
            if 2 * max(tested.shape) <= min(image.shape[:2]):
                evidence = gather(image, tested)
                yield {
                    "condition": condition,
                    "image": number,
                    "kernel": name,
                    "contrast": f"{evidence.contrast:.5f}",
                    "overshoot": f"{evidence.overshoot:.6f}",
                }


def crops(count: int) -> Iterator[dict[str, object]]:
    """One row of CROP_COLUMNS for a crop of every size of every image, with its kernel if that fits."""
    for condition, number, blurry, _, kernel in tqdm(list(photographs(count)), unit=" images"):
        random = np.random.RandomState(seed_of("orientation crops", number))
        for side in SIDES:
            row, column = (random.randint(max(length - side, 0) + 1) for length in blurry.shape[:2])
            crop = blurry[row : row + side, column : column + side]
            if min(crop.shape[:2]) == side >= max(kernel.shape) and not is_symmetric(kernel):
                evidence = gather(crop, kernel)
                yield {
                    "size": side,
                    "condition": condition,
                    "image": number,
                    "contrast": f"{evidence.contrast:.5f}",
                    "gradients": evidence.gradients,
                }


def fitted_certainty(rows: Sequence[dict[str, object]]) -> tuple[float, float]:
    """CERTAINTY, of the greatest likelihood on a grid, by rows of CROP_COLUMNS."""
    contrast, n = (np.array([float(row[key]) for row in rows]) for key in ("contrast", "gradients"))
    grid = [(slope, few) for slope in np.geomspace(1, 1000, 120) for few in (0, *np.geomspace(100, 1e6, 120))]
    return min(grid, key=lambda c: np.logaddexp(0, -c[0] * contrast * n / (n + c[1])).mean())


def held_out_certainty(rows: Sequence[dict[str, object]]) -> np.ndarray:
    """How certain each of the rows of CROP_COLUMNS seems by the images of the other parts."""
    part = np.array([int(row["image"]) % FOLDS for row in rows])
    contrast, n = (np.array([float(row[key]) for row in rows]) for key in ("contrast", "gradients"))
    sure = np.full(len(rows), 0.5)
    for fold in set(part):
        others = [row for row, of in zip(rows, part, strict=True) if of != fold]
        slope, few = fitted_certainty(others or rows)
        judged = (part == fold) & (n >= FEWEST_GRADIENTS)
        sure[judged] = 1 / (1 + np.exp(-slope * np.abs(contrast) * n / (n + few)))[judged]
    return sure


def by_size(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Rows of SIZE_COLUMNS: how often the sign of the contrast is right, and how certain it seemed, held out."""
    summary = []
    right, certain = np.array([float(row["contrast"]) > 0 for row in rows]), held_out_certainty(rows)
    for side in SIDES:
        chosen = np.array([int(row["size"]) == side for row in rows])
        if not chosen.any():
            continue
        told = chosen & (certain >= SURE)
        of_told = f"{right[told].mean():.3f}" if told.any() else "-"
        row = {"crop": side, "images": int(chosen.sum()), "right": f"{right[chosen].mean():.3f}"}
        row |= {"sure": f"{told.sum() / chosen.sum():.3f}", "right_of_sure": of_told}
        summary.append(row | {"mean_certainty": f"{certain[chosen].mean():.3f}"})
    return summary


def features(rows: Sequence[dict[str, object]]) -> np.ndarray:
    """(cases, 3): what `explains` weighs."""
    contrast, overshoot = (np.array([float(row[key]) for row in rows]) for key in ("contrast", "overshoot"))
    return np.stack([np.log(np.abs(contrast) + 0.005), np.log(overshoot + 1e-5), np.ones(len(rows))], 1)


def logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression (cases, features) -> {0, 1}, both outcomes counted alike."""
    share = y.mean()
    each = np.where(y == 1, 0.5 / share, 0.5 / (1 - share))
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (each * p * (1 - p))[:, None]).T @ x + 1e-2 * np.eye(x.shape[1])
        weights = weights - np.linalg.solve(curvature, x.T @ (each * (p - y)) + 1e-2 * weights)
    return weights


def held_out_warnings(rows: Sequence[dict[str, object]]) -> np.ndarray:
    """Whether each of the rows of COLUMNS is warned of, by weights and a limit fitted without its image."""
    images = np.array([str(row["image"]) for row in rows])
    right = np.array([row["kernel"] == "right" for row in rows])
    x, warned = features(rows), np.zeros(len(rows), bool)
    for image in set(images):
        others = images != image if len(set(images)) > 1 else np.ones(len(rows), bool)
        scores = x @ logistic(x[others], right[others].astype(float))
        limit = np.quantile(scores[others & right], FALSE_ALARMS)
        warned[images == image] = scores[images == image] < limit
    return warned


def report(rows: Sequence[dict[str, object]], cropped: Sequence[dict[str, object]]) -> str:
    """The constants, and how often the checks are right."""
    kinds = np.array([row["kernel"] for row in rows])
    right = kinds == "right"
    contrast = np.array([float(row["contrast"]) for row in rows])[right]
    x, y = features(rows), right.astype(float)
    weights = logistic(x, y)
    weights[2] -= np.quantile((x @ weights)[right], FALSE_ALARMS)
    warned = held_out_warnings(rows)
    overshoot = np.array([float(row["overshoot"]) for row in rows])
    lines = [
        "CERTAINTY = ({:.3g}, {:.3g})".format(*fitted_certainty(cropped)),
        "EXPLAINED = ({:.3g}, {:.3g}, {:.3g})".format(*weights),
        f"MOST_OVERSHOOT = {np.quantile(overshoot[right], 1 - FALSE_ALARMS):.2g}",
        f"orientation right: {(contrast > 0).sum()} of {len(contrast)}",
    ]
    lines += [f"warned, kernel '{kind}': {warned[kinds == kind].mean():.0%}" for kind in dict.fromkeys(kinds)]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=20, help="how many validation images, default 20")
    parser.add_argument("--output", type=Path, default=CASES, help=f"default: {CASES.relative_to(ROOT)}")
    parser.add_argument("--crops", type=Path, default=CROPS, help=f"default: {CROPS.relative_to(ROOT)}")
    parser.add_argument("--sizes", type=Path, default=SIZES, help=f"default: {SIZES.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    rows = list(cases(arguments.images))
    write_csv(arguments.output, rows, COLUMNS)
    cropped = list(crops(arguments.images))
    write_csv(arguments.crops, cropped, CROP_COLUMNS)
    write_csv(arguments.sizes, by_size(cropped), SIZE_COLUMNS)
    print(report(rows, cropped))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
