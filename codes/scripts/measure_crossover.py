"""Measure from which kernel size on the FFT blur is faster than direct convolution.

    python codes/scripts/measure_crossover.py

Writes results/published/blur_crossover.csv: median milliseconds of H and of H' on a 481x321 RGB
image, both paths alternating in one run. The default of codes/models/archs/blur.py follows it.
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

from codes.models.archs.blur import Blur
from codes.utils.arguments import available_device, positive
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_csv

OUTPUT = ROOT / "results" / "published" / "blur_crossover.csv"
SIZES = (1, 3, 5, 7, 9, 13, 19, 35, 75)
COLUMNS = ("kernel", "direct_ms", "fft_ms", "direct_adjoint_ms", "fft_adjoint_ms", "device", "threads", "torch")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda, default cpu")
    parser.add_argument("--runs", type=positive, default=15, help="runs of each, default 15")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    device = available_device(arguments.device)
    x = torch.rand(1, 3, 481, 321, device=device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    rows = []
    for size in tqdm(SIZES, unit=" kernels"):
        kernel = torch.full((1, size, size), 1 / size**2, device=device)
        blurs = {method: Blur(kernel, x.shape[-2:], method=method) for method in ("direct", "fft")}
        seconds: dict[str, list[float]] = {}
        for H in blurs.values():  # warm up
            H.adjoint(H(x))
        for _ in range(arguments.runs):
            for method, H in blurs.items():
                for part, operator in ((f"{method}_ms", H), (f"{method}_adjoint_ms", H.adjoint)):
                    seconds.setdefault(part, []).append(timed(operator, x))
        medians = {part: f"{1000 * median(times):.2f}" for part, times in seconds.items()}
        rows.append(
            {
                "kernel": f"{size}x{size}",
                **medians,
                "device": name,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    write_csv(arguments.output, rows, COLUMNS)
    print(tabulate([[row[key] for key in COLUMNS[:5]] for row in rows], COLUMNS[:5], tablefmt="github"))
    return 0


def timed(operator, x: torch.Tensor) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    operator(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(run_command_line(main))
