"""Compare this project with outputs of the authors' implementation and write the errors as CSV.

    python studies/check_parity.py --fixtures DIR [--images DIR]

The fixtures are small random networks with inputs and outputs, and metric values. They are not part of the
repository; results/published/parity.csv has the errors that this command measured with them.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import codes.models.all_networks  # noqa: F401  registers the networks
from codes.data.images import read_image, to_8bit
from codes.evaluation.metrics import quality
from codes.models.registry import NETWORKS
from codes.models.weights import load_weights
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import PUBLISHED, ROOT, write_csv
from studies.reference import LiteralDSDNet

OUTPUT = PUBLISHED / "parity.csv"
COLUMNS = ("fixture", "quantity", "error", "bar", "date", "torch", "numpy", "python")


def network_errors(path: Path) -> list[dict[str, object]]:
    """Largest absolute differences of x0 and of the restored images of one fixture.

    DSDNet+ with random weights reaches values of about 9, so its error is relative to the largest value.
    """
    fixture = torch.load(path, weights_only=True)
    net = NETWORKS[fixture["network"]].build(**fixture["config"]).eval()
    load_weights(net, fixture["state_dict"])
    with torch.no_grad():
        stages = net(fixture["blurry"], fixture["kernel"], stages=True)
        initial = net.initial(fixture["blurry"], fixture["kernel"])
    every_stage = fixture["restored"].dim() == 5
    restored = torch.stack(stages) if every_stage else stages[-1]
    scale = max(1.0, fixture["restored"].abs().max().item()) if every_stage else 1.0
    errors = {
        "initial": (initial - fixture["initial"]).abs().max().item(),
        "restored": (restored - fixture["restored"]).abs().max().item() / scale,
    }
    if not every_stage:
        with torch.no_grad():
            literal = LiteralDSDNet(net)(fixture["blurry"], fixture["kernel"])
        errors["restored (literal)"] = (literal - fixture["restored"]).abs().max().item()
    return [{"fixture": path.stem, "quantity": name, "error": error, "bar": 2e-5} for name, error in errors.items()]


def metric_errors(fixtures: Path, images: Path) -> list[dict[str, object]]:
    """Differences of PSNR (dB) and SSIM from the authors' metric code."""
    rows = []
    for case in json.loads((fixtures / "metrics.json").read_text()):
        truth = to_8bit(read_image(images / case["reference"]))
        scores = quality(truth, to_8bit(read_image(fixtures / case["distorted"])))
        for name, value in scores._asdict().items():
            error, bar = abs(value - case[name]), 1e-4 if name.startswith("psnr") else 1e-5
            rows.append({"fixture": case["distorted"], "quantity": name, "error": error, "bar": bar})
    return rows


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, required=True, help="folder of *.pt and metrics.json")
    parser.add_argument(
        "--images", type=Path, help="folder of the metrics' references (default: data, next to the fixtures' folder)"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    paths = sorted(arguments.fixtures.glob("*.pt"))
    if not paths:
        raise UserError(f"{arguments.fixtures}: no fixtures (*.pt) in this folder")
    rows = [row for path in paths for row in network_errors(path)]
    rows += metric_errors(arguments.fixtures, arguments.images or arguments.fixtures.parent / "data")
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    failed = [row for row in rows if row["error"] > row["bar"]]
    print(tabulate([[row[key] for key in COLUMNS[:4]] for row in rows], COLUMNS[:4], tablefmt="github"))
    if failed:
        raise UserError(f"{len(failed)} of {len(rows)} errors are above their limit; nothing is written")
    rows = [{**row, "error": f"{row['error']:.1e}", "date": date.today().isoformat(), **versions} for row in rows]
    write_csv(arguments.output, rows, COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
