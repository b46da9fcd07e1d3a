"""What a lower precision costs: the PSNR of two runs of codes/test.py, compared image by image.

    sh run_scripts.sh tables
    python codes/test.py -opt options/test/bfloat16.yml
    python studies/precision.py table2/dsdnet_tiny bfloat16

Writes the mean and the largest loss in dB of each set to results/published/precision.csv.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.metrics.evaluation import read_scores
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT
from studies import harness


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("reference", help="a run below results/")
    parser.add_argument("other", help="the run in lower precision")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    arguments = parser.parse_args(argv)
    reference, other = (psnr_of(arguments.results / name) for name in (arguments.reference, arguments.other))
    if reference.keys() != other.keys():
        raise UserError(f"{arguments.reference} and {arguments.other} hold scores of different images")
    losses: dict[str, list[float]] = {}
    for key, psnr in reference.items():
        losses.setdefault(key[0], []).append(psnr - other[key])
    losses["all"] = [loss for of_set in losses.values() for loss in of_set]
    rows = [
        {
            "set": name,
            "images": len(of_set),
            "mean_loss_db": f"{fmean(of_set):.4f}",
            "worst_loss_db": f"{max(of_set):.4f}",
        }
        for name, of_set in losses.items()
    ]
    harness.publish(arguments.output, "precision", rows)
    return 0


def psnr_of(folder: Path) -> dict[tuple[str, str], float]:
    """PSNR in dB by set and image. Raises UserError if the run is not there."""
    scores = {(score.set, score.image): score.psnr for score in read_scores(folder)}
    if not scores:
        raise UserError(f"{folder}: no scores found; run codes/test.py first")
    return scores


if __name__ == "__main__":
    sys.exit(run_command_line(main))
