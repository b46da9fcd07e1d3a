"""Measure whether leaving out clipped highlights helps: Lai's saturated images with and without a mask.

    python codes/scripts/measure_masks.py

Restores every image of the class as codes/deblur.py does, without a mask and with --mask auto, and writes mean PSNR
(dB) and SSIM of both to results/published/masks.csv. Goes on from results/masks/<weights>.csv, where it
was interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import to_8bit
from codes.data.triples import Triple, TripleDataset
from codes.metrics.quality import quality
from codes.restoration.deblurring import Deblurrer
from codes.restoration.masks import clipped_highlights
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, read_csv, write_csv

OUTPUT = ROOT / "results" / "published" / "masks.csv"
LAI = ROOT / "Datasets" / "Lai"
CLASS = "saturated"
MASKS = {"none": lambda image: None, "auto": clipped_highlights}
COLUMNS = ("mask", "images", "psnr", "ssim", "trained_with_masks")
PER_IMAGE_COLUMNS = ("image", "mask", "psnr", "ssim")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    parser.add_argument("--images", type=positive, help="the first so many only")
    parser.add_argument("--data", type=Path, default=LAI, help=f"default: {LAI.relative_to(ROOT)}")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "masks", help="default: results/masks")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    dataset = TripleDataset(*(arguments.data / name for name in ("GT", "BL", "Kernel")))
    numbers = [number for number in range(len(dataset)) if dataset.name(number).startswith(CLASS)]
    numbers = numbers[: arguments.images]
    if not numbers:
        raise UserError(f"{arguments.data}: holds no images of Lai's class '{CLASS}'")
    trained = load_network(arguments.weights)
    deblurrer = Deblurrer(trained.network)
    table = arguments.results / f"{trained.path.stem}.csv"
    rows = read_csv(table) if table.is_file() else []
    done = {(row["image"], row["mask"]) for row in rows}
    wanted = [(number, mask) for number in numbers for mask in MASKS if (dataset.name(number), mask) not in done]
    for number, mask in tqdm(wanted, unit=" images"):
        rows.append(scored(deblurrer, dataset[number], mask))
        write_csv(table, rows, PER_IMAGE_COLUMNS)
    names = {dataset.name(number) for number in numbers}
    rows = [row for row in rows if row["image"] in names]
    summary = [summarise(mask, [row for row in rows if row["mask"] == mask], trained.knows_masks) for mask in MASKS]
    write_csv(arguments.output, summary, COLUMNS)
    print(tabulate(summary, headers="keys", tablefmt="github"))
    return 0


def scored(deblurrer: Deblurrer, triple: Triple, mask: str) -> dict[str, object]:
    """A row of PER_IMAGE_COLUMNS."""
    restored = deblurrer.stages(triple.blurry, triple.kernel, MASKS[mask](triple.blurry), every=False)[-1]
    scores = quality(to_8bit(triple.ground_truth), to_8bit(restored))
    return {"image": triple.name, "mask": mask, "psnr": f"{scores.psnr:.4f}", "ssim": f"{scores.ssim:.6f}"}


def summarise(mask: str, rows: Sequence[dict[str, str]], trained: bool) -> dict[str, object]:
    """A row of COLUMNS."""
    return {
        "mask": mask,
        "images": len(rows),
        "psnr": f"{fmean(float(row['psnr']) for row in rows):.2f}",
        "ssim": f"{fmean(float(row['ssim']) for row in rows):.3f}",
        "trained_with_masks": "yes" if trained else "no",
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
