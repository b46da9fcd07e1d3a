"""What masks bring for clipped highlights and for dead pixels.

    python studies/masks.py

Restores images as codes/deblur.py does, with and without a mask: Lai's saturated images (--mask auto), and the
validation images with 1 percent noise in which one pixel of 200 is black or white. Writes the mean PSNR (dB) and SSIM
to results/published/masks.csv.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.degradation import seed_of
from codes.data.images import to_8bit
from codes.data.triples import Triple, TripleDataset
from codes.evaluation.metrics import quality
from codes.inference.gaps import clipped_highlights
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from studies import harness

CLASS = "saturated"
DEAD_SHARE = 0.005  # fraction of the pixels that are dead


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    parser.add_argument("--images", type=positive, help="use only the first images of each kind")
    arguments = parser.parse_args(argv)
    lai = TripleDataset(*(arguments.data / "Lai" / name for name in ("GT", "BL", "Kernel")))
    held_out = TripleDataset(*(arguments.data / "Validation" / name for name in ("GT", "Noise_01", "Kernel")))
    saturated = [index for index in range(len(lai)) if lai.name(index).startswith(CLASS)]
    if not saturated:
        raise UserError(f"{arguments.data / 'Lai'}: there are no images of Lai's class '{CLASS}'")
    trained = load_network(arguments.weights)
    cases = (
        ("clipped highlights", lai, saturated, with_highlights),
        ("dead pixels", held_out, range(len(held_out)), with_dead_pixels),
    )
    rows = []
    for what, triples, indices, prepare in cases:
        chosen = indices[: arguments.images]
        for use_mask in (False, True):
            scores = []
            for index in tqdm(chosen, desc=f"{what}, mask: {use_mask}", unit="image"):
                triple = triples[index]
                blurry, mask = prepare(triple)
                image = harness.restored(trained.network, blurry, triple.kernel, mask if use_mask else None)
                scores.append(quality(to_8bit(triple.ground_truth), to_8bit(image)))
            rows.append(
                {
                    "what": what,
                    "mask": "yes" if use_mask else "no",
                    "images": len(scores),
                    "psnr": f"{fmean(score.psnr for score in scores):.2f}",
                    "ssim": f"{fmean(score.ssim for score in scores):.3f}",
                    "trained_with_masks": "yes" if trained.trained_with_masks else "no",
                }
            )
    harness.publish(arguments.output, "masks", rows)
    return 0


def with_highlights(triple: Triple) -> tuple[np.ndarray, np.ndarray]:
    """The blurry image (H, W, C) and the mask (H, W) that leaves out its clipped pixels."""
    return triple.blurry, clipped_highlights(triple.blurry)


def with_dead_pixels(triple: Triple) -> tuple[np.ndarray, np.ndarray]:
    """The blurry image (H, W, C) with dead pixels, black or white, and the mask (H, W), 0 at these pixels."""
    random = np.random.RandomState(seed_of("dead pixels", triple.name))
    draw = random.uniform(size=(2, *triple.blurry.shape[:2]))
    dead = draw[0] < DEAD_SHARE
    return np.where(dead[..., None], draw[1][..., None] < 0.5, triple.blurry).astype(np.float32), 1.0 - dead


if __name__ == "__main__":
    sys.exit(run_command_line(main))
