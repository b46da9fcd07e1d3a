"""What a lower precision costs: PSNR of two runs of codes/test.py, image by image.

    sh run_scripts.sh tables
    python codes/test.py -opt options/test/bfloat16.yml
    python codes/scripts/compare_precision.py table2/dsdnet_tiny bfloat16

Writes results/published/precision.csv: for each set the mean and the largest loss in dB.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tabulate import tabulate

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.metrics.score_files import read_scores
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, write_csv

OUTPUT = ROOT / "results" / "published" / "precision.csv"
COLUMNS = ("set", "images", "mean_loss_db", "worst_loss_db")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", help="a run below results/")
    parser.add_argument("other", help="the run in lower precision")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    reference, other = (psnr_of(arguments.results / name) for name in (arguments.reference, arguments.other))
    if reference.keys() != other.keys():
        raise UserError(f"{arguments.reference} and {arguments.other} are not of the same images")
    losses = {key: reference[key] - other[key] for key in reference}
    rows = [
        row(name, [losses[key] for key in losses if key[0] == name]) for name in dict.fromkeys(k[0] for k in losses)
    ]
    rows.append(row("all", list(losses.values())))
    write_csv(arguments.output, rows, COLUMNS)
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
    return 0


def psnr_of(folder: Path) -> dict[tuple[str, str], float]:
    """PSNR by set and image. Raises UserError where the run is not there."""
    scores = {(score.set, score.image): score.psnr for score in read_scores(folder)}
    if not scores:
        raise UserError(f"{folder}: holds no scores; run codes/test.py first")
    return scores


def row(name: str, losses: Sequence[float]) -> dict[str, object]:
    return {
        "set": name,
        "images": len(losses),
        "mean_loss_db": f"{fmean(losses):.4f}",
        "worst_loss_db": f"{max(losses):.4f}",
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
