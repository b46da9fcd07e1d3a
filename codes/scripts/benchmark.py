"""Time networks against the literal version of their stages, side by side.

    python codes/scripts/benchmark.py
    python codes/scripts/benchmark.py --cases light:481x321:19 options/train/own.yml:256x256:35 --runs 7

A case is network:HxW:side of the kernel, the network a preset (with the weights of Models/ if they are there) or
the network_G of an option file (with random weights); without --cases those of the published table. `-opt FILE`
is short for the case FILE:481x321:19. The literal version (tests/reference.py) has direct convolutions, MaxPool3d
and every term computed anew, with the same weights, in float32. It, ours in float32, ours in bfloat16 and a large
product of matrices in both (what the machine can do at this moment) run in turn in one process, and medians are taken.

Writes results/published/speed.csv, and beside it speed_parts.csv (operations by part) and speed_parts.png:
seconds, CPU seconds, how many times the literal version's speed, the share of the machine's peak in
the same precision, MiB above the loaded weights, and the largest difference from the literal version.
"""

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from matplotlib.figure import Figure
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.metrics.complexity import flop_by_part
from codes.models.paper.cgnet import CGNet
from codes.models.archs.cgnet_fft import CGNetFFT
from codes.models.archs.cgnet_zero import CGNetZero
from codes.models.ablation.denoised_solver import Denoised
from codes.models.paper.dsdnet import DSDNet
from codes.models.tiny.newton import Newton
from codes.models.tiny.newton_prior import NewtonPrior
from codes.models.paper.shrinkage import IdentityMaxout, Maxout, OutlierMaxout, SoftMaxout
from codes.models.factory import build_network
from codes.models.registry import PRESETS, NetworkOptions
from codes.models.restorer import Restorer
from codes.models.weights import load_weights
from codes.options import network_of_file, network_options
from codes.utils.arguments import available_device, positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, write_atomic, write_csv
from codes.utils.memory import peak_memory
from tests.reference import LiteralDSDNet

OUTPUT = ROOT / "results" / "published" / "speed.csv"
CASES = ("light:481x321:19", "light:481x321:75", "tiny:256x256:35", "light:1024x768:19")
AT = "481x321:19"
RUNS, LONG_RUNS = 5, 3
LONG_ROUND = 60.0
"""seconds of one run of every version, from which on LONG_RUNS are enough"""
PEAK_SIDE = 2048
"""of the square matrices whose product tells the machine's peak"""
PRECISIONS = ("float32", "bfloat16")
SETTING = ("network", "size", "kernel")
FIGURES = ("seconds", "cpu_seconds", "ratio", "share_of_peak", "mib", "max_difference")
COLUMNS = (*SETTING, "version", *FIGURES, "runs", "threads", "torch")


class Case(NamedTuple):
    network: str
    """a preset or an option file"""
    size: tuple[int, int]
    kernel: int

    def setting(self) -> dict[str, object]:
        return {"network": Path(self.network).stem, "size": "x".join(map(str, self.size)), "kernel": self.kernel}


class Run(NamedTuple):
    """Wall-clock and CPU seconds, MiB above those at the start (None where unknown), and the result."""

    seconds: float
    cpu_seconds: float
    mib: float | None
    result: Tensor


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--cases", type=case, nargs="+", default=[case(text) for text in CASES], metavar="CASE")
    what.add_argument("-opt", type=lambda path: case(f"{path}:{AT}"), nargs="+", dest="cases", metavar="FILE")
    runs_help = f"runs of each, after one to warm up; default {RUNS}, or {LONG_RUNS} of more than {LONG_ROUND:.0f} s"
    parser.add_argument("--runs", type=positive, help=runs_help)
    parser.add_argument("--device", default="cpu", help="cpu or cuda, default cpu")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    device = available_device(arguments.device)
    rows, parts = [], []
    settings = [tuple(one.setting().values()) for one in arguments.cases]
    if len(set(settings)) < len(settings):
        raise UserError("--cases: two have the same name, size and kernel; leave one out or rename its option file")
    for one in arguments.cases:
        torch.manual_seed(0)
        network = build_network(network_named(one.network))
        if not has_literal(network):
            raise UserError(f"{one.network}: tests/reference.py has no literal version of this network")
        weights = ROOT / "Models" / f"dsdnet_{one.network}.safetensors"
        if one.network in PRESETS and weights.is_file():
            load_weights(network, weights)
        elif one.network not in PRESETS:
            leave_the_start(network)
        flop = flop_by_part(network, *blurry_and_kernel(one))
        parts += [{**one.setting(), "part": part, "gflop": f"{count / 1e9:.3f}"} for part, count in flop.items()]
        rows += measure(one, network.to(device), sum(flop.values()), arguments.runs, device)
    write_csv(arguments.output, rows, COLUMNS)
    parts_file = arguments.output.with_name(f"{arguments.output.stem}_parts.csv")
    write_csv(parts_file, parts, (*SETTING, "part", "gflop"))
    draw(parts, parts_file.with_suffix(".png"))
    print(tabulate([[row[key] for key in COLUMNS] for row in rows], COLUMNS, tablefmt="github", disable_numparse=True))
    return 0


def case(text: str) -> Case:
    """network:HxW:side. Raises ArgumentTypeError."""
    try:
        network, size, kernel = text.rsplit(":", 2)
        height, width = size.split("x")
        parsed = Case(network, (positive(height), positive(width)), positive(kernel))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form light:481x321:19") from None
    if parsed.kernel % 2 == 0:
        raise argparse.ArgumentTypeError(f"'{text}': the literal version takes kernels of odd sides only")
    if network not in PRESETS and Path(network).suffix not in (".yml", ".yaml"):
        known = ", ".join(PRESETS)
        raise argparse.ArgumentTypeError(f"'{network}' is no option file (.yml) and none of {known}")
    return parsed


def leave_the_start(network: torch.nn.Module) -> None:
    """Move all weights a little: a network that starts as the identity would show no difference between versions."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))


def network_named(name: str) -> NetworkOptions:
    """The options of a preset or of an option file. Raises UserError."""
    return network_options({"preset": name}, name) if name in PRESETS else network_of_file(name)


def has_literal(network: torch.nn.Module) -> bool:
    """Whether the literal version can be made of it."""
    if type(network) is not DSDNet:
        return False
    solver = network.solver.solver if isinstance(network.solver, Denoised) else network.solver
    solvers = (Newton,) if isinstance(network.solver, Denoised) else (CGNet, CGNetZero, CGNetFFT, NewtonPrior)
    shrinkages = {type(shrink) for shrink in (*network.shrink_v, *network.shrink_z)}
    return type(solver) in solvers and shrinkages <= {Maxout, SoftMaxout, IdentityMaxout, OutlierMaxout}


def blurry_and_kernel(case: Case) -> tuple[Tensor, Tensor]:
    kernel = torch.rand(1, case.kernel, case.kernel)
    return torch.rand(1, 3, *case.size), kernel / kernel.sum()


def measure(
    case: Case, network: torch.nn.Module, flop: float, runs: int | None, device: torch.device
) -> list[dict[str, object]]:
    """One row for each version of a case."""
    blurry, kernel = (tensor.to(device) for tensor in blurry_and_kernel(case))
    literal = LiteralDSDNet(network)
    versions: dict[str, Callable[[], Tensor]] = {"literal": lambda: literal(blurry, kernel)}
    for precision in PRECISIONS:
        restorer = Restorer(copy.deepcopy(network), device, precision)
        versions[f"ours, {precision}"] = lambda restorer=restorer: restored(restorer, blurry, kernel)
        matrix = torch.rand(PEAK_SIDE, PEAK_SIDE, device=device, dtype=getattr(torch, precision))
        versions[f"peak, {precision}"] = lambda matrix=matrix: matrix @ matrix
    measured = {name: [timed(version, device)] for name, version in versions.items()}
    if runs is None:
        runs = RUNS if sum(first.seconds for (first,) in measured.values()) < LONG_ROUND else LONG_RUNS
    for _ in tqdm(range(runs), desc=":".join(map(str, case.setting().values())), unit=" rounds"):
        for name, version in versions.items():
            measured[name].append(timed(version, device))
    truth = measured["literal"][-1].result
    slow = median_seconds(measured["literal"])
    rows = []
    for name in ("literal", *(f"ours, {precision}" for precision in PRECISIONS)):
        precision = "float32" if name == "literal" else name.removeprefix("ours, ")
        peak = 2 * PEAK_SIDE**3 / median_seconds(measured[f"peak, {precision}"])
        seconds = median_seconds(measured[name])
        memory = [run.mib for run in measured[name] if run.mib is not None]
        figures = {
            "seconds": f"{seconds:.2f}",
            "cpu_seconds": f"{median(run.cpu_seconds for run in measured[name][1:]):.2f}",
            "ratio": f"{slow / seconds:.2f}",
            "share_of_peak": f"{flop / seconds / peak:.0%}",
            "mib": f"{median(memory):.0f}" if memory else "",
            "max_difference": f"{(measured[name][-1].result - truth).abs().max().item():.1e}",
        }
        where = {"runs": runs, "threads": torch.get_num_threads(), "torch": torch.__version__}
        rows.append({**case.setting(), "version": name, **figures, **where})
    return rows


def restored(restorer: Restorer, blurry: Tensor, kernel: Tensor) -> Tensor:
    """The restorer's image as a tensor like `blurry`."""
    image = restorer.restore(blurry[0].permute(1, 2, 0).cpu().numpy(), kernel[0].cpu().numpy()).image
    return torch.from_numpy(image).permute(2, 0, 1)[None].to(blurry.device)


def median_seconds(runs: Sequence[Run]) -> float:
    """Of all runs but the first, which warms up."""
    return median(run.seconds for run in runs[1:])


@torch.inference_mode()
def timed(version: Callable[[], Tensor], device: torch.device) -> Run:
    with peak_memory(device) as peak:
        start, cpu_start = time.perf_counter(), time.process_time()
        result = version()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    mib = None if peak.mib is None or peak.start is None else peak.mib - peak.start
    return Run(seconds, cpu_seconds, mib, result)


def draw(parts: Sequence[dict[str, object]], path: Path) -> None:
    """Stacked bars of the operations by part, one for each case, as shares of the whole."""
    figure = Figure(figsize=(8, 1.2 + 0.5 * len({tuple(row[key] for key in SETTING) for row in parts})), dpi=150)
    axes = figure.subplots()
    names = list(dict.fromkeys(f"{row['network']}, {row['size']}, kernel {row['kernel']}" for row in parts))
    kinds = list(dict.fromkeys(str(row["part"]) for row in parts))
    counts = [float(row["gflop"]) for row in parts]
    table = [counts[i : i + len(kinds)] for i in range(0, len(counts), len(kinds))]
    left = [0.0] * len(names)
    for i, kind in enumerate(kinds):
        shares = [bars[i] / sum(bars) for bars in table]
        axes.barh(names, shares, left=left, label=kind)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    axes.set(xlim=(0, 1), xlabel="share of the operations")
    axes.invert_yaxis()
    figure.legend(ncols=len(kinds), fontsize=7, loc="upper center", frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.9))
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png"))


if __name__ == "__main__":
    sys.exit(run_command_line(main))
