"""How good the kernels of codes/estimate_kernel.py are.

    python studies/kernels.py

Kernels of the validation set are estimated from a pair (the sharp image and the image blurred by the kernel) and from
the picture of a bright disc of 1.5 pixels across. The set's images of 1 percent noise, which have other noise than
those of the pairs, are then restored with the estimated and with the true kernel. Writes to
results/published/kernel_estimation.csv: similarity, the maximum of the normalised cross-correlation of both kernels;
loss, by how many dB the PSNR is below that with the true kernel. A whole shift between the kernels does not count.
"""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import cv2
import numpy as np
from scipy.signal import fftconvolve
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import to_8bit
from codes.data.triples import Triple, TripleDataset
from codes.evaluation.metrics import psnr
from codes.models.network import Network
from codes.restoration.kernel_estimation import from_pair, from_point
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.arguments import positive
from codes.utils.errors import run_command_line
from studies import harness

NOISE = 0.01  # standard deviation, of full scale
DIAMETER = 1.5  # of the disc, pixels
BACKGROUND = 0.05  # of the picture of the disc


class Case(NamedTuple):
    """A way to get a kernel from a triple, and on which of the images it is measured: every `step`-th."""

    way: str
    picture: str
    step: int
    kernel: Callable[[Triple], np.ndarray]


def pair(triple: Triple, noise: float = NOISE, given: bool = False, change: Callable | None = None) -> np.ndarray:
    """The kernel from a pair whose blurred picture was changed by `change`."""
    picture = with_noise(blurred(triple.ground_truth, triple.kernel), noise, seed_of("pair", triple.name))
    picture = picture if change is None else change(picture)
    return from_pair(to_8bit(triple.ground_truth), picture, len(triple.kernel) if given else None).kernel


def displaced(picture: np.ndarray) -> np.ndarray:
    """The picture moved by 2 pixels to the right and 3 upwards; the rest of the border is repeated."""
    return np.pad(picture, ((0, 3), (2, 0), (0, 0)), mode="edge")[3:, :-2]


def jpeg(picture: np.ndarray) -> np.ndarray:
    """The picture after JPEG compression of quality 90."""
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)


def darker(picture: np.ndarray) -> np.ndarray:
    """The picture with less exposure and another white balance."""
    return to_8bit(picture / 255 * (0.5, 0.6, 0.7))


def point(triple: Triple, brightest: float = 0.9, diameter: float = DIAMETER, given: float = 1) -> np.ndarray:
    """The kernel from a blurred disc whose brightest pixel has this value, and which may be clipped.

    given: the diameter that the search is given.
    """
    size = len(triple.kernel)
    side = 4 * size + 1
    fine = (np.indices((side * 9,) * 2) - side * 9 // 2) / 9
    disc = (np.hypot(*fine) <= diameter / 2).reshape(side, 9, side, 9).mean((1, 3))
    picture = blurred(disc[..., None].repeat(3, 2), triple.kernel)
    picture = BACKGROUND + picture * (brightest - BACKGROUND) / picture.max()
    picture = with_noise(picture, NOISE, seed_of("point", triple.name))
    return from_point(picture, side // 2, side // 2, size + 2 * math.ceil(diameter / 2), given).kernel


CASES = (
    Case("pair", "1 % noise", 1, pair),
    Case("point", "1 % noise", 1, point),
    Case("pair", "1 % noise, size given", 4, lambda triple: pair(triple, given=True)),
    Case("pair", "1 % noise, displaced by 2,-3", 4, lambda triple: pair(triple, change=displaced)),
    Case("pair", "1 % noise, JPEG 90", 4, lambda triple: pair(triple, change=jpeg)),
    Case("pair", "1 % noise, darker", 4, lambda triple: pair(triple, change=darker)),
    Case("pair", "8 bit, no noise", 4, lambda triple: pair(triple, noise=0)),
    Case("point", "1 % noise, disc of 2 pixels", 4, lambda triple: point(triple, diameter=2)),
    Case("point", "1 % noise, disc of 4 pixels", 4, lambda triple: point(triple, diameter=4)),
    Case("point", "1 % noise, disc of 4 pixels, given", 4, lambda triple: point(triple, diameter=4, given=4)),
    Case("point", "1 % noise, brightest value 0.3", 4, lambda triple: point(triple, 0.3)),
    Case("point", "1 % noise, clipped (1.5 times as bright)", 4, lambda triple: point(triple, 1.5)),
)


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    parser.add_argument("--images", type=positive, help="use only the first images")
    arguments = parser.parse_args(argv)
    triples = TripleDataset(*(arguments.data / "Validation" / name for name in ("GT", "Noise_01", "Kernel")))
    network = load_network(arguments.weights).network
    scores = {case: [] for case in CASES}
    for index in tqdm(range(len(triples))[: arguments.images], unit="image"):
        triple = triples[index]
        best = score(network, triple, triple.kernel)
        for case in CASES:
            if index % case.step == 0:
                kernel = case.kernel(triple)
                one = similarity(kernel, triple.kernel), best - score(network, triple, kernel)
                scores[case].append(one)
                tqdm.write(f"{triple.name}, {case.way}, {case.picture}: {one[0]:.4f} {one[1]:+.2f} dB")
        harness.publish(arguments.output, "kernel_estimation", [row(case, scores[case]) for case in CASES])
    return 0


def row(case: Case, scores: Sequence[tuple[float, float]]) -> harness.Row:
    """A row of the table, from the similarity and the loss of each image."""
    similarities, losses = zip(*scores, strict=True)
    return {
        "way": case.way,
        "picture": case.picture,
        "images": len(scores),
        "similarity": f"{fmean(similarities):.4f}",
        "least_similarity": f"{min(similarities):.4f}",
        "loss": f"{fmean(losses):.2f}",
        "largest_loss": f"{max(losses):.2f}",
    }


def score(network: Network, triple: Triple, kernel: np.ndarray) -> float:
    """PSNR (dB) of the image restored with a kernel, which is first moved onto the true one by a whole shift."""
    kernel = moved_onto(kernel, triple.kernel)
    return psnr(to_8bit(triple.ground_truth), to_8bit(harness.restored(network, triple.blurry, kernel)))


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation of two kernels of odd sides, for every whole shift; none is in the middle."""
    product = fftconvolve(first, second[::-1, ::-1])
    return product / (np.linalg.norm(first) * np.linalg.norm(second))


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """The maximum of the normalised cross-correlation of two kernels: 1 if they differ by a whole shift only."""
    return float(correlation(first, second).max())


def moved_onto(kernel: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A kernel shifted by whole pixels to where it resembles another one most; it may become larger."""
    product = correlation(kernel, other)
    place = np.unravel_index(product.argmax(), product.shape)
    down, right = (int(at) - length // 2 for at, length in zip(place, product.shape, strict=True))
    reach = max(abs(down), abs(right))
    return np.roll(np.pad(kernel, reach), (-down, -right), (0, 1))


if __name__ == "__main__":
    sys.exit(run_command_line(main))
