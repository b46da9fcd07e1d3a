"""Time a training step against that of the literal version of the network, side by side.

    python codes/scripts/benchmark_training.py --filters 8 --stages 3 --batch 4 --patch 96 --kernel 35

Ours is the trainer's own step (options as in options/train/tiny.yml: channels-last, with and
without bfloat16); the literal one (tests/reference.py) has direct convolutions, MaxPool3d and
every term computed anew, in float32, with the same optimiser. Both minimise the L1 of the last
stage's image. Medians and ratios are written to results/published/training_speed.csv, in place of those
of the same setting.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.training import Sample, random_batch
from codes.models.factory import build_preset
from codes.training.options import Recipe
from codes.training.schedule import build_optimizer
from codes.training.trainer import Trainer
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, read_csv, write_csv
from codes.utils.processes import Processes
from tests.reference import LiteralDSDNet

OUTPUT = ROOT / "results" / "published" / "training_speed.csv"
SETTING = ("filters", "stages", "batch", "patch", "kernel", "threads")
COLUMNS = ("step", *SETTING, "seconds", "cpu_seconds", "ratio", "runs")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", type=int, default=8, help="N = M, default 8")
    parser.add_argument("--stages", type=int, default=3, help="T, default 3")
    parser.add_argument("--batch", type=int, default=4, help="default 4")
    parser.add_argument("--patch", type=int, default=96, help="default 96")
    parser.add_argument("--kernel", type=int, default=35, help="default 35")
    parser.add_argument("--threads", type=int, default=1, help="default 1: train with a process a core, see torchrun")
    parser.add_argument("--runs", type=int, default=5, help="steps of each, default 5")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    batch = random_batch(arguments.batch, arguments.patch, arguments.kernel)
    steps = {
        "literal": literal_step(arguments, batch),
        "ours, float32": our_step(arguments, batch, amp=False),
        "ours, bfloat16": our_step(arguments, batch, amp=True),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in tqdm(range(arguments.runs + 1), unit=" rounds"):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    rows = []
    for name, times in seconds.items():
        # The first step of each warms up and is not counted.
        wall, cpu = (median(column) for column in zip(*times[1:], strict=True))
        literal = median(wall for wall, _ in seconds["literal"][1:])
        setting = {key: getattr(arguments, key) for key in SETTING}
        figures = {"seconds": f"{wall:.2f}", "cpu_seconds": f"{cpu:.2f}", "ratio": f"{literal / wall:.2f}"}
        rows.append({"step": name, **setting, **figures, "runs": arguments.runs})
    setting = {key: str(getattr(arguments, key)) for key in SETTING}
    others = [row for row in read_csv(OUTPUT) if not setting.items() <= row.items()]
    write_csv(OUTPUT, [*others, *rows], COLUMNS)
    print(tabulate([[row[key] for key in COLUMNS] for row in rows], COLUMNS, tablefmt="github"))
    return 0


def network(arguments: argparse.Namespace) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_preset("light", nf_p=arguments.filters, nf_d=arguments.filters, nb=arguments.stages, nf_n=16)


def recipe(arguments: argparse.Namespace, amp: bool) -> Recipe:
    last_stage = [0.0] * (arguments.stages - 1) + [1.0]
    return Recipe(
        manual_seed=0, niter=1, lr_G=1e-4, lr_scheme="MultiStepLR", stage_weights=last_stage, amp=amp, val_freq=1
    )


def our_step(arguments: argparse.Namespace, batch: Sample, amp: bool) -> Callable[[], object]:
    trainer = Trainer(network(arguments), recipe(arguments, amp), torch.device("cpu"), Processes())
    return lambda: trainer.step(batch)


def literal_step(arguments: argparse.Namespace, batch: Sample) -> Callable[[], object]:
    literal = LiteralDSDNet(network(arguments).train())
    optimizer = build_optimizer(literal, recipe(arguments, amp=False))

    def step() -> None:
        optimizer.zero_grad()
        (literal(batch.blurry, batch.kernel) - batch.sharp).abs().mean().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(run_command_line(main))
