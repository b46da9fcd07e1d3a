"""Train the variants of options/ablation/ablation.yml equally long and compare them.

    python codes/scripts/run_ablation.py
    python codes/scripts/run_ablation.py --quick
    python codes/scripts/run_ablation.py --only cg5 fft

Each variant is trained by codes/train.py, on the CPU in as many processes as there are cores, and
scored once on the test set. Writes results/ablation/: ablation.csv and table.md after every
variant, logs/, and the trainings under experiments/ (checkpoints and weights: about 200 MB each).
Interrupted, the same command goes on where it stopped. --quick is a matter of minutes, needs no
data and writes to results/ablation_quick.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
BEGIN = time.perf_counter()

import torch
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import list_images
from codes.data.preparation import ensure_quickstart
from codes.data.training import random_batch
from codes.metrics.ablation_table import columns, markdown_table
from codes.metrics.complexity import RUNS, complexity
from codes.models.factory import build_network, load_pretrained
from codes.models.restorer import Restorer, choose_device
from codes.options import load_options
from codes.training import checkpoint
from codes.training.ablation import OPTION_FILE, AblationOptions
from codes.training.trainer import Trainer
from codes.training.validation import Validation
from codes.utils.arguments import positive
from codes.utils.errors import UserError, nearest, run_command_line
from codes.utils.files import ROOT, from_root, read_csv, write_csv, write_text
from codes.utils.processes import Processes

IMPORTED = time.perf_counter() - BEGIN
TRAIN = ROOT / "codes" / "train.py"
ITERATION = re.compile(r"\s*(\d+)/\d+  ")
"""What train.py's reports on its progress begin with."""
BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
"""Counts estimated seconds, so that what remains is that of all variants."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", type=Path, default=OPTION_FILE, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few images, to see that it runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants, not all")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b.c=value", help="override a key of every variant's training"
    )
    parser.add_argument("--processes", type=positive, help="that train together; default: one a core, one for a GPU")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    arguments = parser.parse_args(argv)
    options = load_options(AblationOptions, arguments.opt)
    folder = arguments.results / (options.name + ("_quick" if arguments.quick else ""))
    ablation = Ablation(options, folder, arguments.quick, arguments.set, arguments.processes)
    ablation.run(arguments.only or list(options.variants))
    return 0


class Estimate(NamedTuple):
    """What a variant has before it: training from iteration `begin` on, seconds a step and of all the rest."""

    begin: int
    step: float
    rest: float


class Ablation:
    """All variants' recipes, checked before anything is trained, and the rows of those that are finished.

    folder: where the results go. more: overrides `a.b.c=value` of every recipe. processes: None for
    one a core, or one for a GPU. Raises UserError for mistakes in the option files, or where
    `folder` holds trainings with other options.
    """

    def __init__(self, options: AblationOptions, folder: Path, quick: bool, more: Sequence[str], processes: int | None):
        self.options, self.folder, self.quick, self.more = options, folder, quick, more
        self.recipes = {name: options.recipe(name, quick, more) for name in options.variants}
        self.published = {name: options.published(name) for name in options.variants}
        self.base = next(iter(self.recipes.values()))
        self.device = choose_device(self.base.gpu_ids)
        self.processes = processes or (1 if quick else self._most_processes())
        self.sets = {key: s.name for key, s in self.base.datasets.val.items()}
        self.test_sets = options.quick.test if quick else options.test
        self.psnr_columns = [*self.sets.values(), *(s.name for s in self.test_sets.values())]
        self.columns = columns(self.psnr_columns)
        self.rows = self._finished()

    def run(self, names: Sequence[str]) -> None:
        """Train and score those of `names` that are not finished, and write the table after each."""
        for name in names:
            if name not in self.recipes:
                raise UserError(f"--only: unknown variant '{name}'; {nearest(name, self.recipes)}")
        remaining = [name for name in names if name not in self.rows]
        print(f"{self.folder}: {len(names)} variants, {len(names) - len(remaining)} finished", flush=True)
        validation, test = self._images()
        if remaining:
            timing = tqdm(remaining, desc="timing a few steps", unit=" variants", leave=False)
            estimates = {name: self._estimate(name, validation, test) for name in timing}
            steps = {name: self.recipes[name].train.niter - estimates[name].begin for name in remaining}
            total = sum(steps[name] * estimates[name].step + estimates[name].rest for name in remaining)
            print(f"About {timedelta(seconds=round(total))} (h:mm:ss), by a few steps of each variant", flush=True)
            with tqdm(total=total, bar_format=BAR) as bar:
                for name in remaining:
                    bar.set_description(name)
                    self._train(name, estimates[name], bar)
                    self.rows[name] = self._measure(name, test)
                    self._write()
                    bar.update(estimates[name].rest)
                    bar.write(f"{name}: " + "  ".join(f"{key} {self.rows[name][key]} dB" for key in self.psnr_columns))
        self._write()
        print((self.folder / "table.md").read_text(encoding="utf-8"))
        print(f"Results: {self.folder}")

    def _most_processes(self) -> int:
        batch = self.base.datasets.train.batch_size
        most = 1 if self.device.type == "cuda" else min(os.cpu_count() or 1, batch)
        return max(n for n in range(1, most + 1) if batch % n == 0)

    def _experiment(self, name: str) -> Path:
        return self.folder / "experiments" / name

    def _finished(self) -> dict[str, dict[str, str]]:
        for name, recipe in self.recipes.items():
            experiment = self._experiment(name)
            if any(experiment.glob(f"training_state/*{checkpoint.SUFFIX}")):
                left = (experiment / "options.yml").read_text(encoding="utf-8")
                differing = checkpoint.differing_options(recipe, left)
                if differing:
                    raise UserError(
                        f"{experiment} was trained with other options: {'; '.join(differing)}. Change them back, or "
                        f"move {self.folder} away to begin anew"
                    )
        path = self.folder / "ablation.csv"
        rows = read_csv(path) if path.is_file() else []
        return {row["variant"]: row for row in rows if tuple(row) == self.columns and row["variant"] in self.recipes}

    def _images(self) -> tuple[Validation, Validation]:
        """The validation and the test sets. Raises UserError for what is missing, before hours of training."""
        train, val = self.base.datasets.train, self.base.datasets.val
        if not val:
            raise UserError(f"{self.options.base}: datasets.val: at least one set is needed to compare the variants on")
        for data in (train, *val.values(), *self.test_sets.values()):
            if data.embedded:
                ensure_quickstart(from_root(data.dataroot_GT).parent)
        list_images(from_root(train.dataroot_GT))
        return (
            Validation(val, self.base.train.val_images, Processes()),
            Validation(self.test_sets, 1 if self.quick else None, Processes()),
        )

    def _estimate(self, name: str, validation: Validation, test: Validation) -> Estimate:
        """By two steps and one restored image. A training's start takes what this script's imports took."""
        recipe, data = self.recipes[name], self.recipes[name].datasets.train
        state = checkpoint.load_last(self._experiment(name) / "training_state")
        batch = random_batch(data.batch_size // self.processes, data.GT_size, data.kernel_size)
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if self.processes > 1 else threads)
        trainer = Trainer(build_network(recipe.network_G).to(self.device), recipe.train, self.device, Processes())
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            trainer.step(batch)
            seconds.append(time.perf_counter() - start)
        set_name, index = validation.work[0]
        triple = validation.sets[set_name][1][index]
        image = Restorer(trainer.average.network, self.device).restore(triple.blurry, triple.kernel).seconds
        torch.set_num_threads(threads)
        images = len(validation.work) / self.processes + len(test.work) + RUNS + 1
        return Estimate(state["iteration"] if state else 0, median(seconds[1:]), IMPORTED + images * image)

    def _train(self, name: str, estimate: Estimate, bar: tqdm) -> None:
        """Run train.py to the end, from its last checkpoint. Raises UserError with its error."""
        command = [sys.executable]
        if self.processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.processes}"]
        command += [str(TRAIN), "-opt", str(from_root(self.options.base)), "--root", str(self.folder)]
        command += [word for key in self.options.overrides(name, self.quick, self.more) for word in ("--set", key)]
        environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if self.processes > 1 else {})}
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        lines, done = [""], estimate.begin
        with (
            open(log, "a", encoding="utf-8") as file,
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process,
        ):
            try:
                for line in process.stdout:
                    file.write(line)
                    lines.append(line.strip())
                    reported = ITERATION.match(line)
                    if reported:
                        bar.update((int(reported[1]) - done) * estimate.step)
                        done = int(reported[1])
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if process.returncode:
            errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            raise UserError(f"variant {name}: {(errors or lines)[-1]} (all that it said: {log})")

    def _measure(self, name: str, test: Validation) -> dict[str, str]:
        """The row of a trained variant: its averaged weights at the end, whatever came before."""
        recipe, experiment = self.recipes[name], self._experiment(name)
        network = build_network(recipe.network_G)
        load_pretrained(network, str(experiment / "models" / "last.safetensors"))
        cost = complexity(network.to(self.device))
        end = [row for row in read_csv(experiment / "validation.csv") if int(row["iteration"]) == recipe.train.niter]
        psnr = {self.sets[row["set"]]: float(row["psnr"]) for row in end}
        psnr |= {self.test_sets[key].name: score.psnr for key, score in test.run(network, self.device).scores.items()}
        return {
            "variant": name,
            "varies": self.options.variants[name].varies,
            "iterations": str(recipe.train.niter),
            "parameters": str(cost.parameters),
            "conv_gflop": f"{cost.gflop:.2f}",
            "seconds": f"{cost.seconds:.2f}",
            **{set_name: f"{value:.2f}" for set_name, value in psnr.items()},
            "paper_psnr": self.published[name].get("psnr", ""),
            "paper_gflops": self.published[name].get("gflops", ""),
        }

    def _write(self) -> None:
        rows = [self.rows[name] for name in self.options.variants if name in self.rows]
        write_csv(self.folder / "ablation.csv", rows, self.columns)
        write_text(self.folder / "table.md", f"# {self.folder.name}\n\n{markdown_table(rows, self.columns)}")


if __name__ == "__main__":
    sys.exit(run_command_line(main))
