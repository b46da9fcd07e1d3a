"""Measure what masks bring: for clipped highlights, and for dead pixels.

    python codes/scripts/measure_masks.py

Restores images as codes/deblur.py does, without a mask and with one, and writes mean PSNR (dB) and SSIM of both to
results/published/masks.csv: Lai's saturated images (--mask auto), and the held-out images of 1 percent noise in which
one pixel of 200 is black or white. Goes on from results/masks/<weights>.csv, where it was interrupted.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import seed_of
from codes.data.images import to_8bit
from codes.data.masks import clipped_highlights
from codes.data.triples import Triple, TripleDataset
from codes.metrics.quality import quality
from codes.restoration.deblurring import Deblurrer
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, read_csv, write_csv

OUTPUT = ROOT / "results" / "published" / "masks.csv"
DATA = ROOT / "Datasets"
CLASS = "saturated"
HIGHLIGHTS, DEAD = "clipped highlights", "dead pixels"
SHARE = 0.005
"""of the pixels that are dead"""
MASKS = ("no", "yes")
COLUMNS = ("what", "mask", "images", "psnr", "ssim", "trained_with_masks")
PER_IMAGE_COLUMNS = ("what", "image", "mask", "psnr", "ssim")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    parser.add_argument("--images", type=positive, help="the first so many of each only")
    parser.add_argument("--data", type=Path, default=DATA, help=f"default: {DATA.relative_to(ROOT)}")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "masks", help="default: results/masks")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    lai = TripleDataset(*(arguments.data / "Lai" / name for name in ("GT", "BL", "Kernel")))
    held_out = TripleDataset(*(arguments.data / "Validation" / name for name in ("GT", "Noise_01", "Kernel")))
    saturated = [number for number in range(len(lai)) if lai.name(number).startswith(CLASS)]
    if not saturated:
        raise UserError(f"{arguments.data / 'Lai'}: holds no images of Lai's class '{CLASS}'")
    images = [(HIGHLIGHTS, lai, number) for number in saturated[: arguments.images]]
    images += [(DEAD, held_out, number) for number in range(len(held_out))[: arguments.images]]
    trained = load_network(arguments.weights)
    deblurrer = Deblurrer(trained.network)
    table = arguments.results / f"{trained.path.stem}.csv"
    rows = {key_of(row): row for row in (read_csv(table) if table.is_file() else [])}
    wanted = [(what, data, number, mask) for what, data, number in images for mask in MASKS]
    for what, data, number, mask in tqdm(wanted, unit=" images"):
        if (what, data.name(number), mask) not in rows:
            row = scored(deblurrer, data[number], what, mask)
            rows[key_of(row)] = row
            write_csv(table, rows.values(), PER_IMAGE_COLUMNS)
    chosen = [rows[what, data.name(number), mask] for what, data, number, mask in wanted]
    summary = [
        summarise([row for row in chosen if (row["what"], row["mask"]) == (what, mask)], trained.knows_masks)
        for what in (HIGHLIGHTS, DEAD)
        for mask in MASKS
    ]
    write_csv(arguments.output, summary, COLUMNS)
    print(tabulate(summary, headers="keys", tablefmt="github"))
    return 0


def key_of(row: Mapping[str, object]) -> tuple[object, ...]:
    """What tells a row of PER_IMAGE_COLUMNS from the others."""
    return row["what"], row["image"], row["mask"]


def scored(deblurrer: Deblurrer, triple: Triple, what: str, mask: str) -> dict[str, object]:
    """A row of PER_IMAGE_COLUMNS."""
    blurry, valid = with_dead_pixels(triple) if what == DEAD else (triple.blurry, clipped_highlights(triple.blurry))
    restored = deblurrer.stages(blurry, triple.kernel, valid if mask == "yes" else None, every=False)[-1]
    scores = quality(to_8bit(triple.ground_truth), to_8bit(restored))
    return {
        "what": what,
        "image": triple.name,
        "mask": mask,
        "psnr": f"{scores.psnr:.4f}",
        "ssim": f"{scores.ssim:.6f}",
    }


def with_dead_pixels(triple: Triple) -> tuple[np.ndarray, np.ndarray]:
    """The blurry image (H, W, C) with dead pixels, black or white, and its mask (H, W), 0 there."""
    random = np.random.RandomState(seed_of("dead pixels", triple.name))
    draw = random.uniform(size=(2, *triple.blurry.shape[:2]))
    dead = draw[0] < SHARE
    return np.where(dead[..., None], draw[1][..., None] < 0.5, triple.blurry).astype(np.float32), 1.0 - dead


def summarise(rows: Sequence[Mapping[str, str]], trained: bool) -> dict[str, object]:
    """A row of COLUMNS, of the images of one kind with or without a mask."""
    return {
        "what": rows[0]["what"],
        "mask": rows[0]["mask"],
        "images": len(rows),
        "psnr": f"{fmean(float(row['psnr']) for row in rows):.2f}",
        "ssim": f"{fmean(float(row['ssim']) for row in rows):.3f}",
        "trained_with_masks": "yes" if trained else "no",
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
