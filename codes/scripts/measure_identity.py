"""Measure how well an image that is not blurred comes back: a delta kernel, no noise.

    python codes/scripts/measure_identity.py

Restores the sharp validation and quickstart images with the shipped weights and a kernel of a
single pixel, and writes PSNR (dB) after rounding to 8 bit to results/published/identity.csv.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import list_images, read_image, to_8bit
from codes.data.kernel_generator import delta
from codes.data.preparation import ensure_quickstart
from codes.metrics.quality import psnr
from codes.restoration.deblurring import Deblurrer
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_csv

OUTPUT = ROOT / "results" / "published" / "identity.csv"
COLUMNS = ("set", "images", "mean_psnr", "least_psnr", "least_of")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    parser.add_argument("--sets", nargs="+", default=("Quickstart", "Validation"), help="default: both")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    ensure_quickstart(ROOT / "Datasets" / "Quickstart")
    deblurrer = Deblurrer(load_network(arguments.weights).network)
    rows = []
    for name in arguments.sets:
        paths = list_images(ROOT / "Datasets" / name / "GT")
        scores = {path.stem: identity_psnr(deblurrer, path) for path in tqdm(paths, desc=name, unit=" images")}
        least = min(scores, key=scores.get)
        rows.append(
            {
                "set": name,
                "images": len(scores),
                "mean_psnr": f"{fmean(scores.values()):.2f}",
                "least_psnr": f"{scores[least]:.2f}",
                "least_of": least,
            }
        )
    write_csv(arguments.output, rows, COLUMNS)
    print(tabulate(rows, headers="keys", tablefmt="github"))
    return 0


def identity_psnr(deblurrer: Deblurrer, path: Path) -> float:
    """PSNR of a sharp image file restored with a delta kernel."""
    image = read_image(path)
    restored = deblurrer.stages(image, delta(1), every=False)[0]
    return psnr(to_8bit(image), to_8bit(restored))


if __name__ == "__main__":
    sys.exit(run_command_line(main))
