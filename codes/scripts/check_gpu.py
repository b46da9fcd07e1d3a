"""Check this code on a GPU and print one table, to paste into an issue.

    python codes/scripts/check_gpu.py
    python codes/scripts/check_gpu.py --fixtures DIR    # a folder of the authors' outputs (*.pt)

Compares restored images and a training step with those of the CPU (or with the authors' outputs), trains on all GPUs,
counts the graph breaks of torch.compile, compares the planned memory with the measured one, and measures the speed.
A check that fails is a row of the table; the others go on, and the exit status is 1. --device cpu tries out the checks
themselves.
"""

import argparse
import copy
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.patches import Sample
from codes.inference.restorer import PRECISIONS, Restorer
from codes.models.factory import build_preset
from codes.models.network import Network
from codes.models.registry import NETWORKS
from codes.models.weights import load_weights
from codes.training.options import Recipe
from codes.training.trainer import Trainer
from codes.utils.devices import tf32
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT
from codes.utils.memory import used
from codes.utils.processes import Processes

# Largest difference of an image from the authors' or from the CPU's, and of a loss from the CPU's, relative.
IMAGE_BAR, LOSS_BAR = 2e-5, 1e-4
KERNEL = np.full((19, 19), 1 / 361, np.float32)
PATCH = 96  # height and width of the training patches
RUNS = 5  # timed restorations and training steps, after one to warm up


class Row(NamedTuple):
    """A line of the table. limit: what the result may be at most, if there is a limit."""

    check: str
    result: str
    limit: str = ""
    ok: bool = True


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, help="folder of the authors' outputs; default: compare with the CPU")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda")
    parser.add_argument("--presets", nargs="+", default=["tiny", "light"], help="networks; default: tiny light")
    parser.add_argument("--size", type=int, nargs=2, default=(321, 481), help="of the images, default 321 481")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"torch {torch.__version__} sees no GPU here; --device cpu tries out the checks without one")
    device = torch.device(arguments.device)
    if arguments.fixtures and not list(arguments.fixtures.glob("*.pt")):
        raise UserError(f"--fixtures {arguments.fixtures}: no *.pt in this folder")
    networks = {name: start(name) for name in arguments.presets}
    image = np.random.RandomState(0).uniform(size=(*arguments.size, 3)).astype(np.float32)
    rows = [Row("device", describe(device))]
    checks = [("parity", lambda: parity(arguments.fixtures, device))] if arguments.fixtures else []
    checks.append(("training on all GPUs", lambda: training_on_all(device)))
    for name, network in networks.items():
        checks += [
            (f"{name}: restoring", lambda network=network: restoring(network, image, device)),
            (f"{name}: training", lambda network=network: training(network, device)),
            (f"{name}: graph breaks", lambda network=network: graph_breaks(network, device)),
        ]
    for name, check in checks:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += [row._replace(check=f"{name}, {row.check}".strip(", ")) for row in check()]
        except Exception as error:  # the other checks can still be made
            rows.append(Row(name, " ".join(f"{type(error).__name__}: {error}".split())[:200], ok=False))
    print(tabulate([(*row[:3], "yes" if row.ok else "NO") for row in rows], [*Row._fields], tablefmt="github"))
    return 0 if all(row.ok for row in rows) else 1


def describe(device: torch.device) -> str:
    """The device, and the versions of what computes on it."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
    here = f"torch {torch.__version__}, Python {platform.python_version()}, commit {commit.strip() or 'unknown'}"
    if device.type == "cpu":
        return f"{platform.machine()}, {torch.get_num_threads()} threads, {here}"
    gpus = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(device)}"
    return f"{gpus}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {here}"


def start(preset: str) -> Network:
    """A preset with its weights in Models/, or with random ones."""
    torch.manual_seed(0)
    network = build_preset(preset)
    weights = ROOT / "Models" / f"dsdnet_{preset}.safetensors"
    if weights.is_file():
        load_weights(network, weights)
    return network


def parity(fixtures: Path, device: torch.device) -> Iterator[Row]:
    """Differences from the authors' outputs, relative to their largest value if that is above 1."""
    for path in sorted(fixtures.glob("*.pt")):
        fixture = torch.load(path, weights_only=True)
        network = NETWORKS[fixture["network"]].build(**fixture["config"]).eval()
        load_weights(network, fixture["state_dict"])
        expected = fixture["restored"]
        with torch.inference_mode(), tf32(False):
            images = network.to(device).images(fixture["blurry"].to(device), fixture["kernel"].to(device))
        error = relative(images[-1].cpu(), expected[-1] if expected.dim() == 5 else expected)
        yield Row(path.stem, f"{error:.1e}", f"{IMAGE_BAR:.0e}", error <= IMAGE_BAR)


def relative(image: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, divided by the largest value if that is above 1."""
    return ((image - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


def restoring(network: Network, image: np.ndarray, device: torch.device) -> Iterator[Row]:
    """Difference from the CPU, memory and time of one image in every precision."""
    expected = torch.from_numpy(Restorer(copy.deepcopy(network)).restore(image, KERNEL).image)
    for precision in PRECISIONS:
        if precision in ("float16", "tf32") and device.type == "cpu":
            continue
        restorer = Restorer(copy.deepcopy(network), device, precision)
        before, runs = used(device), [restorer.restore(image, KERNEL) for _ in range(1 + RUNS)]
        error, exact = relative(torch.from_numpy(runs[-1].image), expected), precision == "float32"
        bar = f"{IMAGE_BAR:.0e}" if exact else ""
        yield Row(f"{precision}: difference from the CPU", f"{error:.1e}", bar, error <= IMAGE_BAR or not exact)
        seconds = median(run.seconds for run in runs[1:])
        yield Row(f"{precision}: seconds an image", f"{seconds:.3g} ({1 / seconds:.3g} images a second)")
        if exact and runs[0].memory is not None:
            bytes_each = max(0, runs[0].memory * 2**20 - before) / (image.size / 3)
            planned = network.bytes_per_pixel
            yield Row("bytes a pixel", f"{bytes_each:.0f}", f"{planned} planned", bytes_each <= planned)


def training(network: Network, device: torch.device) -> Iterator[Row]:
    """The loss of a first step compared with the CPU's, and seconds of a step."""
    sharp, kernel = torch.rand(4, 3, PATCH, PATCH), torch.from_numpy(KERNEL).expand(4, -1, -1)
    batch = Sample(sharp, sharp, kernel, torch.zeros_like(sharp), torch.zeros(4))

    def trainer(on: torch.device, **keys: bool) -> Trainer:
        recipe = Recipe(manual_seed=0, niter=100, lr_G=1e-5, val_freq=100, **keys)
        return Trainer(copy.deepcopy(network).to(on), recipe, on, Processes())

    expected = float(trainer(torch.device("cpu")).step(batch)["loss"])
    for keys in ({}, {"checkpoint_stages": True}, {"amp": True}, {"amp": True, "compile": True}):
        steps, seconds = trainer(device, **keys), []
        loss = float(steps.step(batch)["loss"])
        for _ in range(1 + RUNS):
            begin = time.perf_counter()
            float(steps.step(batch)["loss"])  # waits for the GPU
            seconds.append(time.perf_counter() - begin)
        name, error = " ".join(keys) or "float32", abs(loss / expected - 1)
        bar = "" if keys.get("amp") else f"{LOSS_BAR:.0e}"
        yield Row(f"{name}: loss compared with the CPU", f"{error:.1e}", bar, not bar or error <= LOSS_BAR)
        yield Row(f"{name}: seconds a step", f"{median(seconds[1:]):.3g}")


def graph_breaks(network: Network, device: torch.device) -> Iterator[Row]:
    """How often torch.compile has to leave the compiled code in one restoration."""
    torch.compiler.reset()
    network, breaks = copy.deepcopy(network).to(device), torch._dynamo.utils.counters["graph_break"]
    breaks.clear()
    network.compile(backend="eager")
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 64, device=device), torch.from_numpy(KERNEL).to(device)[None])
    yield Row("", str(breaks.total()), "0", not breaks)


def training_on_all(device: torch.device) -> Iterator[Row]:
    """options/train/smoke.yml with one process for each GPU."""
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    keys = [f"gpu_ids={'auto' if device.type == 'cuda' else '[]'}", f"datasets.train.batch_size={2 * count}"]
    with TemporaryDirectory() as root:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
        command += [ROOT / "codes" / "train.py", "-opt", ROOT / "options" / "train" / "smoke.yml", "--root", root]
        done = subprocess.run([*command, *(a for key in keys for a in ("--set", key))], capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if line.strip()] or [""]
    errors = [line for line in said if "error" in line.lower()]
    yield Row(f"{count} process(es)", (errors or said)[0 if errors else -1][:200], ok=done.returncode == 0)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
