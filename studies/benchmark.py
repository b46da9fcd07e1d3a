"""Time networks against the literal version of their stages, side by side.

    python studies/benchmark.py
    python studies/benchmark.py --cases light:481x321:19 options/train/own.yml:256x256:35 --runs 7
    python studies/benchmark.py --training -opt options/train/light.yml

A case is network:HxW:side of the kernel. The network is a preset (with the weights in Models/ if they are there) or
the network_G of an option file (with random weights). Without --cases, the cases of the published table are measured.
The literal version (studies/reference.py) uses direct convolutions and MaxPool3d and computes every term separately,
with the same weights, in float32. All versions run in turn in one process, and medians are reported: seconds, CPU
seconds, the ratio to the literal version's time, and the MiB above what was allocated before.

Restoring: results/published/speed.csv, with the largest difference from the literal version and the share of the
machine's peak in the same precision (a large matrix product or a convolution of 256 channels, whichever is faster),
and speed_parts.csv, the operations of each part. On a GPU every version includes the transfers to and from it.
--training: one training step on a batch of patches of size HxW, in results/published/training_speed.csv. Rows of
other settings stay in that file.
"""

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.patches import Sample
from codes.inference.restorer import Restorer
from codes.models.factory import build_network
from codes.models.paper.dsdnet import DSDNet
from codes.models.tiny.dsdnet_tiny import DSDNetTiny
from codes.models.weights import load_weights
from codes.options import network_of_file, network_options
from codes.restoration.networks import files_of_preset
from codes.training.options import Recipe
from codes.training.schedule import build_optimizer
from codes.training.trainer import Trainer
from codes.utils.arguments import positive
from codes.utils.devices import available_device, tf32
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import PUBLISHED, read_csv, write_csv
from codes.utils.memory import peak_memory
from codes.utils.processes import Processes
from studies.complexity import flop_by_part
from studies.reference import LiteralDSDNet

CASES = ("light:481x321:19", "light:481x321:75", "tiny:256x256:35", "light:1024x768:19")
TRAINING_CASES = ("small:96x96:35", "light:96x96:35")
AT, TRAINING_AT = "481x321:19", "96x96:35"  # size and kernel of -opt FILE
RUNS = 5
PEAK_SIDE = 2048  # side of the square matrices whose product may give the machine's peak
PEAK_CHANNELS, PEAK_SIZE = 256, 96  # channels, height and width of the convolution that may give the peak instead
PEAKS = ("product", "convolution")
GPU_SCALE = 4  # these sides are larger by this factor on a GPU
PRECISIONS = ("float32", "bfloat16")
CASE_COLUMNS = ("network", "size", "kernel")
SPEED_COLUMNS = (
    *(*CASE_COLUMNS, "version", "seconds", "cpu_seconds", "ratio"),
    *("share_of_peak", "mib", "max_difference", "runs", "threads", "torch"),
)
SETTING = ("network", "batch", "patch", "kernel", "threads")
TRAINING_COLUMNS = ("step", *SETTING, "seconds", "cpu_seconds", "ratio", "mib", "runs")

Version = Callable[[], object]


class Case(NamedTuple):
    """A preset or an option file, the size (H, W) of the image, and the side of the kernel."""

    network: str
    size: tuple[int, int]
    kernel: int

    def label(self) -> dict[str, object]:
        return {"network": Path(self.network).stem, "size": "x".join(map(str, self.size)), "kernel": self.kernel}

    def inputs(self) -> tuple[Tensor, Tensor]:
        """A random image (1, 3, H, W) and kernel (1, h, w)."""
        kernel = torch.rand(1, self.kernel, self.kernel)
        return torch.rand(1, 3, *self.size), kernel / kernel.sum()


class Timing(NamedTuple):
    """Median wall-clock and CPU seconds, MiB above the start (None if unknown), number of runs, last result."""

    seconds: float
    cpu_seconds: float
    mib: float | None
    runs: int
    result: object

    def columns(self, literal: "Timing") -> dict[str, object]:
        return {
            "seconds": f"{self.seconds:.2f}",
            "cpu_seconds": f"{self.cpu_seconds:.2f}",
            "ratio": f"{literal.seconds / self.seconds:.2f}",
            "mib": "" if self.mib is None else f"{self.mib:.0f}",
            "runs": self.runs,
        }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--cases", nargs="+", metavar="CASE", help=f"default: {' '.join(CASES)}")
    what.add_argument("-opt", nargs="+", metavar="FILE", help=f"option files, each as the case FILE:{AT}")
    parser.add_argument("--training", action="store_true", help="time training steps instead of restorations")
    parser.add_argument("--batch", type=positive, default=4, help="patches of a training step, default 4")
    parser.add_argument("--threads", type=positive, help="default: torch's own, or 1 for training")
    parser.add_argument("--runs", type=positive, default=RUNS, help=f"timed runs, default {RUNS}")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, default cpu")
    parser.add_argument("--output", type=Path, default=PUBLISHED, help="folder; default: results/published")
    arguments = parser.parse_args(argv)
    at, default = (TRAINING_AT, TRAINING_CASES) if arguments.training else (AT, CASES)
    cases = [parse(text) for text in arguments.cases or [f"{file}:{at}" for file in arguments.opt or ()] or default]
    labels = [tuple(case.label().values()) for case in cases]
    if len(set(labels)) < len(labels):
        raise UserError("--cases: two have the same name, size and kernel; leave one out or rename its option file")
    device = available_device(arguments.device)
    if arguments.threads or arguments.training:
        torch.set_num_threads(arguments.threads or 1)
    networks = [network_of(case) for case in cases]  # all of them first, so that mistakes are reported at once
    measure = measure_training if arguments.training else measure_restoring
    with tf32(False):
        measure(arguments, list(zip(cases, networks, strict=True)), device)
    return 0


def parse(text: str) -> Case:
    """The case that network:HxW:side describes. Raises UserError."""
    try:
        network, size, kernel = text.rsplit(":", 2)
        height, width = size.split("x")
        case = Case(network, (positive(height), positive(width)), positive(kernel))
    except (ValueError, argparse.ArgumentTypeError):
        raise UserError(f"--cases: '{text}' is not of the form light:481x321:19") from None
    if case.kernel % 2 == 0:
        raise UserError(f"--cases: '{text}': the literal version supports kernels of odd sides only")
    return case


def network_of(case: Case) -> nn.Module:
    """The network of a case, with weights if it is a preset that has some. Raises UserError."""
    torch.manual_seed(0)
    preset = Path(case.network).suffix not in (".yml", ".yaml")
    options = network_options({"preset": case.network}, "--cases") if preset else network_of_file(case.network)
    network = build_network(options)
    if type(network) not in (DSDNet, DSDNetTiny):
        raise UserError(f"{case.network}: studies/reference.py has no literal version of this network")
    weights = [file for file in files_of_preset(case.network) if file.is_file()] if preset else []
    if weights:
        load_weights(network, weights[0])
    elif not preset:
        # A network that starts as the identity would show no difference between versions.
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
    return network


def measure_restoring(
    arguments: argparse.Namespace, cases: Sequence[tuple[Case, nn.Module]], device: torch.device
) -> None:
    """Write speed.csv and speed_parts.csv."""
    rows, parts = [], []
    for case, network in cases:
        flop = flop_by_part(network, *case.inputs())
        parts += [{**case.label(), "part": part, "gflop": f"{count / 1e9:.3f}"} for part, count in flop.items()]
        versions = versions_of_restoring(case, network.to(device), device)
        with torch.inference_mode():
            timings = in_turn(versions, arguments.runs, device, str(case.label()))
        literal = timings["literal"]
        for name in ("literal", *(f"ours, {precision}" for precision in PRECISIONS)):
            timing = timings[name]
            precision = name.removeprefix("ours, ") if name != "literal" else "float32"
            figures = {
                "share_of_peak": f"{sum(flop.values()) / timing.seconds / peak_rate(timings, precision):.0%}",
                "max_difference": f"{(timing.result - literal.result).abs().max().item():.1e}",
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
            rows.append({**case.label(), "version": name, **timing.columns(literal), **figures})
    write_csv(arguments.output / "speed.csv", rows, SPEED_COLUMNS)
    write_csv(arguments.output / "speed_parts.csv", parts, (*CASE_COLUMNS, "part", "gflop"))
    show(rows, SPEED_COLUMNS)


def versions_of_restoring(case: Case, network: nn.Module, device: torch.device) -> dict[str, Version]:
    """The literal version, ours in each precision, and what gives the peak in each precision."""
    blurry, kernel = case.inputs()
    image, weights = blurry[0].permute(1, 2, 0).numpy(), kernel[0].numpy()

    def ours(restorer: Restorer) -> Tensor:
        return torch.from_numpy(restorer.restore(image, weights).image).permute(2, 0, 1)[None]

    literal = LiteralDSDNet(network)
    versions: dict[str, Version] = {"literal": lambda: literal(blurry.to(device), kernel.to(device)).cpu()}
    for precision in PRECISIONS:
        restorer = Restorer(copy.deepcopy(network), device, precision)
        versions[f"ours, {precision}"] = lambda restorer=restorer: ours(restorer)
        versions |= versions_of_peak(device, precision)
    return versions


def versions_of_peak(device: torch.device, precision: str) -> dict[str, Version]:
    """A large matrix product and a 3x3 convolution of many channels; each returns its number of operations.

    Which one is faster depends on the library: MKL's product reaches less than half the rate of oneDNN's convolution.
    """
    scale = GPU_SCALE if device.type == "cuda" else 1
    to = {"device": device, "dtype": getattr(torch, precision)}
    matrix = torch.rand(scale * PEAK_SIDE, scale * PEAK_SIDE, **to)
    maps = torch.rand(1, PEAK_CHANNELS, scale * PEAK_SIZE, scale * PEAK_SIZE, **to)
    maps = maps.contiguous(memory_format=torch.channels_last)
    filters = torch.rand(PEAK_CHANNELS, PEAK_CHANNELS, 3, 3, **to).contiguous(memory_format=torch.channels_last)

    def product() -> int:
        return 2 * len(matrix) * (matrix @ matrix).numel()

    def convolution() -> int:
        return 2 * 9 * PEAK_CHANNELS * nn.functional.conv2d(maps, filters, padding=1).numel()

    return {f"product, {precision}": product, f"convolution, {precision}": convolution}


def peak_rate(timings: Mapping[str, Timing], precision: str) -> float:
    """The machine's peak in operations per second, from the timings of `versions_of_peak`."""
    return max(timing.result / timing.seconds for timing in (timings[f"{what}, {precision}"] for what in PEAKS))


def measure_training(
    arguments: argparse.Namespace, cases: Sequence[tuple[Case, nn.Module]], device: torch.device
) -> None:
    """Write training_speed.csv. Both versions minimise the L1 loss of the last stage's image."""
    path = arguments.output / "training_speed.csv"
    rows = read_csv(path) if path.is_file() else []
    for case, network in cases:
        if case.size[0] != case.size[1]:
            raise UserError("--cases: training patches are square")
        timings = in_turn(
            versions_of_training(case, network.to(device), arguments.batch, device),
            *(arguments.runs, device, str(case.label())),
        )
        values = (Path(case.network).stem, arguments.batch, case.size[0], case.kernel, torch.get_num_threads())
        setting = dict(zip(SETTING, map(str, values), strict=True))
        rows = [row for row in rows if not setting.items() <= row.items()]
        rows += [{"step": name, **setting, **timing.columns(timings["literal"])} for name, timing in timings.items()]
        write_csv(path, rows, TRAINING_COLUMNS)
    show(rows, TRAINING_COLUMNS)


def versions_of_training(case: Case, network: nn.Module, count: int, device: torch.device) -> dict[str, Version]:
    """The literal step, and the trainer's own in float32, in bfloat16 and with checkpoint_stages."""
    images, kernel = (part.expand(count, *part.shape[1:]).to(device) for part in case.inputs())
    batch = Sample(images, images, kernel, torch.zeros_like(images), torch.zeros(count))
    stage_weights = [0.0] * (network.n_iter - 1) + [1.0]
    schedule = {"manual_seed": 0, "niter": 1, "lr_G": 1e-4, "lr_scheme": "MultiStepLR", "val_freq": 1}

    def ours(**keys: bool) -> Version:
        recipe = Recipe(**schedule, stage_weights=stage_weights, **keys)
        trainer = Trainer(copy.deepcopy(network), recipe, device, Processes())
        return lambda: trainer.step(batch)

    literal = LiteralDSDNet(copy.deepcopy(network).train())
    optimizer = build_optimizer(literal, Recipe(**schedule))

    def literal_step() -> None:
        optimizer.zero_grad()
        (literal(images, kernel) - images).abs().mean().backward()
        optimizer.step()

    return {
        "literal": literal_step,
        "ours, float32": ours(),
        "ours, bfloat16": ours(amp=True),
        "ours, float32, checkpoint_stages": ours(checkpoint_stages=True),
    }


def in_turn(versions: Mapping[str, Version], runs: int, device: torch.device, description: str) -> dict[str, Timing]:
    """Run all versions in turn: a round to warm up, `runs` rounds for time, and one for memory, which slows down."""
    for version in versions.values():
        timed(version, device)
    measured: dict[str, list[tuple[float, float, object]]] = {name: [] for name in versions}
    for _ in tqdm(range(runs), desc=description, unit="round"):
        for name, version in versions.items():
            measured[name].append(timed(version, device))
    timings = {}
    for name, version in versions.items():
        with peak_memory(device) as peak:
            timed(version, device)
        mib = None if peak.mib is None or peak.start is None else peak.mib - peak.start
        seconds, cpu_seconds, results = zip(*measured[name], strict=True)
        timings[name] = Timing(median(seconds), median(cpu_seconds), mib, runs, results[-1])
    return timings


def timed(version: Version, device: torch.device) -> tuple[float, float, object]:
    """Wall-clock seconds, CPU seconds and the result of one run."""
    start, cpu_start = time.perf_counter(), time.process_time()
    result = version()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, time.process_time() - cpu_start, result


def show(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print the rows as a table."""
    print(tabulate([[row[key] for key in columns] for row in rows], columns, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    sys.exit(run_command_line(main))
