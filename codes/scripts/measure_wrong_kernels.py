"""Measure how often codes/deblur.py warns that a kernel doesn't explain the blur, by kind of kernel.

    python codes/scripts/measure_wrong_kernels.py

Held-out images are blurred by a motion, a disk and a Gaussian, and restored with the right one and with wrong ones;
those blurred by camera shake, with all three. What each shows goes to results/published/orientation_specs.csv, where an
interrupted run goes on; camera shake with its own and other kernels is in orientation_fit.csv (fit_orientation.py).
Every image is judged by the rule as fitted to the other images. Writes results/published/orientation_wrong.csv: by
true blur and kernel used the number of cases, how many were warned of, and their share.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import blurred
from codes.data.kernel_generator import motion
from codes.data.triples import TripleDataset
from codes.restoration.kernel_spec import kernel_of
from codes.restoration.orientation import gather
from codes.scripts.fit_orientation import CASES, FALSE_ALARMS, OTHERS, held_out_warnings, photographs, with_noise
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, read_csv, write_csv

SPECS = ROOT / "results" / "published" / "orientation_specs.csv"
COLUMNS = ("condition", "image", "blur", "kernel", "contrast", "overshoot")
PUBLISHED = ROOT / "results" / "published" / "orientation_wrong.csv"
SUMMARY_COLUMNS = ("blur", "kernel", "cases", "warned", "share")
NOISE_LEVELS = (0.3, 1, 5)
"""percent"""
DRAWN = ((8, 24), (0, 180), (2.5, 7), (1.2, 3))
"""least and largest: length (pixels) and angle (degrees) of a motion, radius of a disk, sigma of a Gaussian (pixels)"""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=20, help="how many validation images, default 20")
    parser.add_argument("--shake", type=Path, default=CASES, help=f"default: {CASES.relative_to(ROOT)}")
    parser.add_argument("--specs", type=Path, default=SPECS, help=f"default: {SPECS.relative_to(ROOT)}")
    parser.add_argument("--output", type=Path, default=PUBLISHED, help=f"default: {PUBLISHED.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    if not arguments.shake.is_file():
        raise UserError(f"{arguments.shake}: not there; first: python codes/scripts/fit_orientation.py")
    rows = read_csv(arguments.specs) if arguments.specs.is_file() else []
    done = {int(row["image"]) for row in rows}
    missing = [number for number in range(arguments.images) if number not in done]
    everything = list(photographs(arguments.images)) if missing else []
    for number in tqdm(missing, unit=" images"):
        rows += cases(number, everything)
        write_csv(arguments.specs, rows, COLUMNS)
    summary = summarise(read_csv(arguments.shake), rows)
    write_csv(arguments.output, summary, SUMMARY_COLUMNS)
    print(tabulate(summary, headers="keys", tablefmt="github", disable_numparse=True))
    return 0


def cases(
    number: int, photos: Sequence[tuple[str, int, np.ndarray, np.ndarray, np.ndarray]]
) -> list[dict[str, object]]:
    """Rows of COLUMNS of an image, of those of `photographs`: blurry (H, W, C) from 0 to 1, kernels (h, w) of sum 1."""
    random = np.random.RandomState(1000 + number)
    length, angle, radius, sigma = (random.uniform(*ends) for ends in DRAWN)
    other_length, other_angle, other_radius, other_sigma = (random.uniform(*ends) for ends in DRAWN)
    wrong = {
        "motion": motion(other_length, other_angle),
        "disk": disk(other_radius),
        "gaussian": gaussian(other_sigma),
    }
    rows = []
    for condition, of, blurry, _, _ in photos:
        if of == number:
            rows += [row(condition, number, "shake", name, blurry, kernel) for name, kernel in wrong.items()]
    kernels = {of: kernel for _, of, _, _, kernel in photos}
    other = kernels[(number + OTHERS[0]) % len(kernels)]
    specifications = {
        "motion": {
            "right": motion(length, angle),
            "angle + 90": motion(length, angle + 90),
            "angle + 30": motion(length, angle + 30),
            "twice as long": motion(2 * length, angle),
            "half as long": motion(length / 2, angle),
            "disk": disk(length / 2),
            "gaussian": gaussian(length / 4),
        },
        "disk": {
            "right": disk(radius),
            "twice as large": disk(2 * radius),
            "half as large": disk(radius / 2),
            "motion": motion(2 * radius, angle),
            "gaussian": gaussian(radius / 2),
        },
        "gaussian": {
            "right": gaussian(sigma),
            "twice as large": gaussian(2 * sigma),
            "half as large": gaussian(sigma / 2),
            "motion": motion(4 * sigma, angle),
            "disk": disk(2 * sigma),
        },
    }
    sharp = ground_truth(number)
    for blur, tried in specifications.items():
        clean = blurred(sharp, tried["right"])
        for level in NOISE_LEVELS:
            blurry = with_noise(clean, level, number)
            for name, kernel in (tried | {"other": other}).items():
                rows.append(row(f"n{level}", number, blur, name, blurry, kernel))
            rows.append(row(f"n{level}", number, blur, "no blur", with_noise(sharp, level, number), tried["right"]))
    return rows


def ground_truth(number: int) -> np.ndarray:
    """A sharp validation image (H, W, 3), from 0 to 1."""
    folder = ROOT / "Datasets" / "Validation"
    return TripleDataset(folder / "GT", folder / "Noise_01", folder / "Kernel")[number].ground_truth


def disk(radius: float) -> np.ndarray:
    """A kernel (h, w) of sum 1."""
    return kernel_of(f"disk:{radius!r}")


def gaussian(sigma: float) -> np.ndarray:
    """A kernel (h, w) of sum 1."""
    return kernel_of(f"gaussian:{sigma!r}")


def row(condition: str, number: int, blur: str, name: str, blurry: np.ndarray, kernel: np.ndarray) -> dict[str, object]:
    """A row of COLUMNS of what an image (H, W, C) shows with a kernel (h, w)."""
    evidence = gather(blurry, kernel)
    shown = f"{evidence.contrast:.5f}", f"{evidence.overshoot:.6f}"
    return dict(zip(COLUMNS, (condition, number, blur, name, *shown), strict=True))


def summarise(shake: Sequence[Mapping[str, str]], specs: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Rows of SUMMARY_COLUMNS, the rule fitted to camera shake as fit_orientation.py does it."""
    return [dict(zip(SUMMARY_COLUMNS, of, strict=True)) for of in _counted(_judged(shake, specs))]


def _judged(
    shake: Sequence[Mapping[str, str]], specs: Sequence[Mapping[str, object]]
) -> Iterator[tuple[str, str, bool]]:
    """True blur, kernel used, and whether it is warned of."""
    known = [dict(row) for row in shake]
    asymmetric = [dict(row) for row in specs if row["kernel"] == "other"]
    warned = held_out_warnings(known + [row | {"kernel": "unseen"} for row in asymmetric])
    for case, told in zip(known + asymmetric, warned, strict=True):
        yield case.get("blur", "shake"), case["kernel"], bool(told)
    right = [row for row in known if row["kernel"] == "right"]
    for case in specs:
        if case["kernel"] != "other":
            others = [float(row["overshoot"]) for row in right if int(row["image"]) != int(case["image"])]
            limit = np.quantile(others, 1 - FALSE_ALARMS)
            yield str(case["blur"]), str(case["kernel"]), float(case["overshoot"]) > limit


def _counted(judged: Iterator[tuple[str, str, bool]]) -> Iterator[tuple[str, str, int, int, str]]:
    """By true blur and kernel: cases, warnings, and their share."""
    groups: dict[tuple[str, str], list[bool]] = {}
    for blur, kernel, told in judged:
        groups.setdefault((blur, kernel), []).append(told)
    order = ("shake", "motion", "disk", "gaussian")
    for blur, kernel in sorted(groups, key=lambda of: (order.index(of[0]), of[1] != "right")):
        told = groups[blur, kernel]
        yield blur, kernel, len(told), sum(told), f"{sum(told) / len(told):.2f}"


if __name__ == "__main__":
    sys.exit(run_command_line(main))
