"""Choose the classical methods' parameters for each noise level, on held-out training images.

    python codes/scripts/tune_baselines.py
    python codes/scripts/tune_baselines.py --noise 0.001 0.07 0.1 --parameters Wiener.balance HyperLaplacian.data_weight

Uses Datasets/Validation (made by prepare_datasets.py --source DIR); for the noise of Lai's
images, uniform on [0, 0.01], and for levels that the set lacks the blurry images are made on the
fly. Prints the tables that the option files hold and writes every trial to
results/published/baseline_tuning.csv, where those of other levels and parameters are kept.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import to_8bit
from codes.data.preparation import NOISE_LEVELS, noise_folder
from codes.data.triples import TripleDataset
from codes.metrics.quality import psnr
from codes.models.archs.classical import ClassicalMethod, HyperLaplacian, RichardsonLucy, Wiener
from codes.models.restorer import Restorer
from codes.utils.arguments import fraction, positive
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, read_csv, write_csv

TRIALS = ROOT / "results" / "published" / "baseline_tuning.csv"
LAI_NOISE = 0.003
"""Standard deviation of uniform noise on [0, 0.01], rounded."""
LEVELS = (LAI_NOISE, 0.01, 0.03, 0.05)
"""of the tables"""

GRIDS = {
    "Wiener.balance": (Wiener, np.geomspace(1e-5, 10.0, 37)),
    "RichardsonLucy.iterations": (RichardsonLucy, (2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112)),
    "HyperLaplacian.data_weight": (HyperLaplacian, np.geomspace(20, 2e5, 25)),
}


def images(sigma: float, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(8-bit ground truth, blurry, kernel) of the first `count` validation images at a noise level."""
    folder = ROOT / "Datasets" / "Validation"
    made = 100 * sigma not in NOISE_LEVELS
    noisy = noise_folder(NOISE_LEVELS[0] if made else round(100 * sigma))
    dataset = TripleDataset(folder / "GT", folder / noisy, folder / "Kernel")
    for index in range(min(count, len(dataset))):
        triple = dataset[index]
        blurry = triple.blurry
        if made:
            blurry = _made(blurred(triple.ground_truth, triple.kernel), sigma, triple.name) / np.float32(255)
        yield to_8bit(triple.ground_truth), blurry, triple.kernel


def _made(blurry: np.ndarray, sigma: float, name: str) -> np.ndarray:
    """A blurry image with noise of a level that the set lacks, uint8; Lai's noise is uniform."""
    if sigma == LAI_NOISE:
        random = np.random.RandomState(seed_of("lai noise", name))
        return to_8bit(blurry + random.uniform(0, 0.01, blurry.shape))
    return with_noise(blurry, sigma, seed_of("Validation", name, sigma))


def psnr_of(method: ClassicalMethod, data: Sequence[tuple], sigma: float) -> float:
    """Mean PSNR (dB) over the images."""
    restorer = Restorer(method)
    return fmean(psnr(truth, to_8bit(restorer.restore(blurry, kernel, sigma).image)) for truth, blurry, kernel in data)


def climb(values: Sequence[float], score, bar: tqdm) -> dict[float, float]:
    """Scores of the values tried: from the middle uphill, since each curve has one maximum."""
    scores: dict[float, float] = {}

    def at(index: int) -> float:
        if not 0 <= index < len(values):
            return -np.inf
        if values[index] not in scores:
            scores[values[index]] = score(values[index])
            bar.update()
        return scores[values[index]]

    best = len(values) // 2
    while True:
        neighbour = max((best - 1, best + 1), key=at)
        if at(neighbour) <= at(best):
            return scores
        best = neighbour


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=10, help="how many validation images, default 10")
    parser.add_argument("--noise", type=fraction, nargs="+", default=LEVELS, metavar="SIGMA", help="of the full range")
    parser.add_argument("--parameters", nargs="+", default=list(GRIDS), choices=list(GRIDS), help="default: all")
    arguments = parser.parse_args(argv)
    trials = [row for row in read_csv(TRIALS) if not is_tried_anew(row, arguments)] if TRIALS.is_file() else []
    best: dict[str, dict[float, float]] = {parameter: {} for parameter in arguments.parameters}
    with tqdm(desc="trials", unit=" trials") as bar:
        for sigma in arguments.noise:
            data = list(images(sigma, arguments.images))
            for parameter in arguments.parameters:
                method, grid = GRIDS[parameter]
                name = parameter.split(".")[1]
                values = [float(f"{value:.2g}") for value in grid]

                def score(value: float, method=method, name=name, sigma=sigma, data=data) -> float:
                    return psnr_of(method(**{name: {sigma: value}}), data, sigma)

                scores = climb(values, score, bar)
                best[parameter][sigma] = max(scores, key=scores.get)
                trials += [
                    {"parameter": parameter, "noise_sigma": sigma, "value": value, "psnr": f"{psnr:.4f}"}
                    for value, psnr in sorted(scores.items())
                ]
    trials.sort(key=lambda row: float(row["noise_sigma"]))
    write_csv(TRIALS, trials, ("parameter", "noise_sigma", "value", "psnr"))
    for parameter, table in best.items():
        print(f"{parameter}: {table}")
    return 0


def is_tried_anew(row: Mapping[str, str], arguments: argparse.Namespace) -> bool:
    """Whether this run will replace a row of the trials."""
    return row["parameter"] in arguments.parameters and float(row["noise_sigma"]) in arguments.noise


if __name__ == "__main__":
    sys.exit(run_command_line(main))
