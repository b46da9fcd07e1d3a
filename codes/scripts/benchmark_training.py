"""Time a training step against that of the literal version of the network, side by side.

    python codes/scripts/benchmark_training.py --filters 8 --stages 3 --batch 4 --patch 96 --kernel 35
    python codes/scripts/benchmark_training.py -opt options/train/light.yml

The network is Light with so many filters and a narrow NLNet (16), or the network_G of an option file. Ours
is the trainer's own step (channels-last, in float32 with and without checkpoint_stages, and in bfloat16);
the literal one (tests/reference.py) has direct convolutions, MaxPool3d and every term computed anew, in
float32, with the same optimiser. Both minimise the L1 of the last stage's image. Medians, ratios and the MiB
that a step takes above what was held before it are written to results/published/training_speed.csv, in place
of those of the same setting.
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
from codes.models.factory import build_network
from codes.models.registry import NetworkOptions
from codes.options import network_of_file, network_options
from codes.scripts.benchmark import has_literal
from codes.training.options import Recipe
from codes.training.schedule import build_optimizer
from codes.training.trainer import Trainer
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, read_csv, write_csv
from codes.utils.memory import peak_memory
from codes.utils.processes import Processes
from tests.reference import LiteralDSDNet

OUTPUT = ROOT / "results" / "published" / "training_speed.csv"
SETTING = ("batch", "patch", "kernel", "threads")
COLUMNS = ("step", "network", *SETTING, "seconds", "cpu_seconds", "ratio", "mib", "runs")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", metavar="FILE", help="an option file, in place of --filters and --stages")
    parser.add_argument("--filters", type=positive, help="N = M, default 8")
    parser.add_argument("--stages", type=positive, help="T, default 3")
    parser.add_argument("--batch", type=positive, default=4, help="default 4")
    parser.add_argument("--patch", type=positive, default=96, help="default 96")
    parser.add_argument("--kernel", type=positive, default=35, help="default 35")
    threads_help = "default 1: train with a process a core, see torchrun"
    parser.add_argument("--threads", type=positive, default=1, help=threads_help)
    parser.add_argument("--runs", type=positive, default=5, help="steps of each, default 5")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    options, name = chosen(arguments)
    torch.set_num_threads(arguments.threads)
    batch = random_batch(arguments.batch, arguments.patch, arguments.kernel)
    steps = {
        "literal": literal_step(options, batch),
        "ours, float32": our_step(options, batch),
        "ours, bfloat16": our_step(options, batch, amp=True),
        "ours, float32, checkpoint_stages": our_step(options, batch, checkpoint_stages=True),
    }
    measured: dict[str, list[tuple[float, float]]] = {step: [] for step in steps}
    for _ in tqdm(range(arguments.runs + 1), unit=" rounds"):
        for step, run in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            measured[step].append((time.perf_counter() - wall, time.process_time() - cpu))
    setting = {"network": name, **{key: str(getattr(arguments, key)) for key in SETTING}}
    literal = median(wall for wall, _ in measured["literal"][1:])
    rows = []
    for step, runs in measured.items():
        # The first step of each warms up and is not counted.
        wall, cpu = (median(column) for column in zip(*runs[1:], strict=True))
        figures = {"seconds": f"{wall:.2f}", "cpu_seconds": f"{cpu:.2f}", "ratio": f"{literal / wall:.2f}"}
        figures["mib"] = memory(steps[step])
        rows.append({"step": step, **setting, **figures, "runs": arguments.runs})
    published = read_csv(arguments.output) if arguments.output.is_file() else []
    others = [row for row in published if not setting.items() <= row.items()]
    write_csv(arguments.output, [*others, *rows], COLUMNS)
    print(tabulate([[row[key] for key in COLUMNS] for row in rows], COLUMNS, tablefmt="github"))
    return 0


def chosen(arguments: argparse.Namespace) -> tuple[NetworkOptions, str]:
    """The network's options and its name in the table. Raises UserError."""
    if arguments.opt:
        if arguments.filters or arguments.stages:
            raise UserError("-opt: the option file has the filters and stages; leave out --filters and --stages")
        options, name = network_of_file(arguments.opt), Path(arguments.opt).stem
        if not has_literal(build_network(options)):
            raise UserError(f"{arguments.opt}: tests/reference.py has no literal version of this network")
        return options, name
    N, T = arguments.filters or 8, arguments.stages or 3
    options = network_options({"preset": "light", "nf_p": N, "nf_d": N, "nb": T, "nf_n": 16}, "network")
    return options, f"light, N=M={N}, T={T}"


def memory(run: Callable[[], object]) -> str:
    """MiB above those at the start, of one more run: to measure them slows it down. Empty where unknown."""
    with peak_memory(torch.device("cpu")) as peak:
        run()
    return "" if peak.mib is None or peak.start is None else f"{peak.mib - peak.start:.0f}"


def network(options: NetworkOptions) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(options)


def recipe(options: NetworkOptions, **keys: bool) -> Recipe:
    last_stage = [0.0] * (options.n_iter - 1) + [1.0]
    schedule = {"manual_seed": 0, "niter": 1, "lr_G": 1e-4, "lr_scheme": "MultiStepLR", "val_freq": 1}
    return Recipe(**schedule, stage_weights=last_stage, **keys)


def our_step(options: NetworkOptions, batch: Sample, **keys: bool) -> Callable[[], object]:
    trainer = Trainer(network(options), recipe(options, **keys), torch.device("cpu"), Processes())
    return lambda: trainer.step(batch)


def literal_step(options: NetworkOptions, batch: Sample) -> Callable[[], object]:
    literal = LiteralDSDNet(network(options).train())
    optimizer = build_optimizer(literal, recipe(options))

    def step() -> None:
        optimizer.zero_grad()
        (literal(batch.blurry, batch.kernel) - batch.sharp).abs().mean().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(run_command_line(main))
