"""Time a network against the literal version of its stages, side by side.

    python codes/scripts/benchmark.py --preset light --size 481 321 --kernels 19 75

The literal version (tests/reference.py) has direct convolutions, MaxPool3d and every term
computed anew, with the same weights. Both run alternately in one process; medians and their
ratio are written to results/published/speed.csv, with the largest difference of the outputs.
"""

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.models.factory import build_preset
from codes.models.registry import PRESETS
from codes.utils.arguments import available_device, positive
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_csv
from tests.reference import LiteralDSDNet

OUTPUT = ROOT / "results" / "published" / "speed.csv"
COLUMNS = (
    "network",
    "size",
    "kernel",
    "seconds",
    "literal_seconds",
    "ratio",
    "max_difference",
    "runs",
    "device",
    "threads",
    "torch",
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="light", choices=literal_presets(), help="default light")
    parser.add_argument(
        "--size", type=positive, nargs=2, default=(481, 321), metavar=("H", "W"), help="default 481 321"
    )
    parser.add_argument("--kernels", type=positive, nargs="+", default=(19, 75), help="kernel sides, default 19 75")
    parser.add_argument("--runs", type=positive, default=5, help="runs of each, default 5")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, default cpu")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    device = available_device(arguments.device)
    torch.manual_seed(0)
    net = build_preset(arguments.preset).to(device)
    literal = LiteralDSDNet(net)
    y = torch.rand(1, 3, *arguments.size, device=device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    rows = []
    for side in arguments.kernels:
        kernel = torch.rand(1, side, side, device=device)
        kernel /= kernel.sum()
        seconds, literal_seconds = [], []
        for _ in tqdm(range(arguments.runs + 1), desc=f"kernel {side}", unit=" runs"):
            ours, time_ours = timed(net, y, kernel)
            theirs, time_theirs = timed(literal, y, kernel)
            seconds.append(time_ours)
            literal_seconds.append(time_theirs)
        # The first run of each warms up and is not counted.
        ours_median, literal_median = median(seconds[1:]), median(literal_seconds[1:])
        rows.append(
            {
                "network": arguments.preset,
                "size": "x".join(map(str, arguments.size)),
                "kernel": side,
                "seconds": f"{ours_median:.2f}",
                "literal_seconds": f"{literal_median:.2f}",
                "ratio": f"{literal_median / ours_median:.2f}",
                "max_difference": f"{(ours - theirs).abs().max().item():.1e}",
                "runs": arguments.runs,
                "device": name,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    write_csv(arguments.output, rows, COLUMNS)
    print(tabulate([[row[key] for key in COLUMNS[:8]] for row in rows], COLUMNS[:8], tablefmt="github"))
    return 0


def literal_presets() -> list[str]:
    """The presets that the literal version can be made of: DSDNet with the paper's parts."""
    own_parts = {"init", "shrinkage", "solver"}
    return [
        name for name in PRESETS if PRESETS[name]["which_model_G"] == "DSDNet" and not own_parts & set(PRESETS[name])
    ]


@torch.inference_mode()
def timed(net: torch.nn.Module, y: torch.Tensor, kernel: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The restored image and the seconds that it took."""
    start = time.perf_counter()
    restored = net(y, kernel)
    if y.is_cuda:
        torch.cuda.synchronize()
    return restored, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(run_command_line(main))
