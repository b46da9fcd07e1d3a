"""The solver experiment: train the same network with different x-steps and compare them.

    python studies/ablation.py
    python studies/ablation.py --quick
    python studies/ablation.py --only cg fft
    torchrun --nproc_per_node 2 studies/ablation.py

The variants of options/ablation/ablation.yml are trained one after the other, with each of several seeds. All variants
of one seed see the same patches. Writes results/ablation/: ablation.csv and table.md after every variant, and the
trainings under experiments/. If it is interrupted, the same command continues from the last checkpoint. --quick takes
minutes, needs no data and writes to results/quick/ablation.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import matplotlib.pyplot as plt
from pydantic import Field, NonNegativeInt
from tabulate import tabulate

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.evaluation.tables import PAPER, set_and_noise
from codes.models.factory import build_network
from codes.options import Name, Options, dump_options, load_options
from codes.train import train
from codes.training.options import TrainOptions
from codes.utils.devices import choose_device
from codes.utils.errors import UserError, nearest, run_command_line
from codes.utils.files import PUBLISHED, ROOT, from_root, read_csv, write_csv, write_text
from codes.utils.plots import SEQUENCE, STYLE, save
from codes.utils.processes import processes
from studies.complexity import Complexity, complexity
from studies.figures.page import NothingToDrawError

OPTION_FILE = ROOT / "options" / "ablation" / "ablation.yml"
POSTER = PAPER / "ablation_solver.csv"
DIFFERENCE = " difference"  # ends the name of the column with the largest difference between the seeds
TITLES = ("trained here: mean of the validation sets", "authors' poster: Set5, 1 % noise")

Row = Mapping[str, str]


class Variant(Options):
    """One row of the table: what differs from the training that all variants share."""

    what: str = Field(description="The x-step in words, for the table.")
    set: list[str] = Field([], description="Overrides `a.b.c=value` of the training option file.")
    poster: str | None = Field(None, description="The corresponding row of the authors' poster.")


class Quick(Options):
    """Overrides that shorten the experiment to minutes, to check that it runs."""

    set: list[str]


class AblationOptions(Options):
    """An experiment whose variants are trained with the same images, iterations and seeds."""

    name: Name
    training: str = Field(description="The training option file that the variants override; relative to the root.")
    seeds: list[NonNegativeInt] = Field(min_length=1, description="Values of train.manual_seed.")
    variants: dict[Name, Variant] = Field(min_length=1)
    quick: Quick

    def training_options(self, variant: str, seed: int, quick: bool, more: Sequence[str] = ()) -> TrainOptions:
        """The options of one training. `more`: further overrides. Raises UserError for a mistake in any file."""
        brief = self.quick.set if quick else []
        own = [f"train.manual_seed={seed}", f"name={variant}_{seed}"]
        try:
            overrides = [*brief, *self.variants[variant].set, *more, *own]
            return load_options(TrainOptions, from_root(self.training), overrides)
        except UserError as error:
            raise UserError(f"variant {variant}: {error}") from None

    def of_poster(self, variant: str) -> Row:
        """The poster's row for a variant, {} if it has none. Raises UserError for an unknown row."""
        name = self.variants[variant].poster
        if name is None:
            return {}
        rows = {row["solver"]: row for row in read_csv(POSTER)}
        if name not in rows:
            raise UserError(f"variant {variant}: poster: unknown row '{name}'; {nearest(name, rows)}")
        return rows[name]


# The trainings of each variant, one for each seed.
Trainings = Mapping[str, Sequence[TrainOptions]]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", type=Path, default=OPTION_FILE, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few images, to check that it runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train these variants only")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b.c=value", help="override a key of every variant's training"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    arguments = parser.parse_args(argv)
    options = load_options(AblationOptions, arguments.opt)
    folder = arguments.results / ("quick" if arguments.quick else "") / options.name
    for name in arguments.only or ():
        if name not in options.variants:
            raise UserError(f"--only: unknown variant '{name}'; {nearest(name, options.variants)}")
    trainings = {
        name: [options.training_options(name, seed, arguments.quick, arguments.set) for seed in options.seeds]
        for name in options.variants
    }
    for name, per_seed in trainings.items():
        options.of_poster(name)
        if not per_seed[0].datasets.val:
            raise UserError(f"{options.training}: datasets.val: at least one set is needed to compare the variants")
    return run(options, trainings, arguments.only or list(trainings), folder)


def run(options: AblationOptions, trainings: Trainings, chosen: Sequence[str], folder: Path) -> int:
    """Do the trainings of the chosen variants and write the table after each variant.

    Returns the exit status, which is not 0 if a signal ended a training.
    """
    costs: dict[str, Complexity] = {}
    with processes(devices=True) as group:
        for name in chosen:
            for training in trainings[name]:
                if not is_finished(training, folder / "experiments" / training.name):
                    status = train(training, folder, group)
                    if status:
                        return status
            if group.is_main:
                write_table(options, trainings, folder, costs)
    if group.is_main:
        print((folder / "table.md").read_text(encoding="utf-8"))
        print(f"Results: {folder}")
    return 0


def is_finished(training: TrainOptions, experiment: Path) -> bool:
    """True if a training with exactly these options has reached its end."""
    file = experiment / "options.yml"
    same = file.is_file() and file.read_text(encoding="utf-8") == dump_options(training)
    return same and final_psnr(training, experiment) is not None


def final_psnr(training: TrainOptions, experiment: Path) -> dict[str, float] | None:
    """PSNR (dB) of every validation set at the end of a training; None if the training is not finished."""
    table = experiment / "validation.csv"
    rows = read_csv(table) if table.is_file() else []
    end = {row["set"]: float(row["psnr"]) for row in rows if int(row["iteration"]) == training.train.niter}
    names = {key: test_set.name for key, test_set in training.datasets.val.items()}
    return {names[key]: end[key] for key in names} if end.keys() >= names.keys() else None


# --- the table


def write_table(options: AblationOptions, trainings: Trainings, folder: Path, costs: dict[str, Complexity]) -> None:
    """Write ablation.csv and table.md with all variants whose trainings are finished; `costs` caches what they cost."""
    rows = []
    for name, per_seed in trainings.items():
        scores = [final_psnr(training, folder / "experiments" / training.name) for training in per_seed]
        if None in scores:
            continue
        if name not in costs:
            first = per_seed[0]
            costs[name] = complexity(build_network(first.network_G).to(choose_device(first.gpu_ids)))
        rows.append(table_row(options, name, per_seed[0].train.niter, scores, costs[name]))
    write_csv(folder / "ablation.csv", rows, list(rows[0]))
    write_text(folder / "table.md", f"# {folder.name}\n\n{markdown_table(rows)}")


def table_row(
    options: AblationOptions, variant: str, iterations: int, scores: Sequence[Mapping[str, float]], cost: Complexity
) -> dict[str, str]:
    """A row of ablation.csv. scores: PSNR by validation set, for each seed."""
    poster = options.of_poster(variant)
    row = {
        "variant": variant,
        "what": options.variants[variant].what,
        "iterations": str(iterations),
        "seeds": str(len(scores)),
        "parameters": str(cost.parameters),
        "gflop": f"{cost.gflop:.2f}",
        "seconds": f"{cost.seconds:.2f}",
    }
    for name in scores[0]:
        values = [psnr[name] for psnr in scores]
        row[name], row[name + DIFFERENCE] = f"{fmean(values):.2f}", f"{max(values) - min(values):.2f}"
    return row | {"paper_psnr": poster.get("psnr", ""), "paper_gflops": poster.get("gflops", "")}


def set_columns(row: Row) -> list[str]:
    """The names of the validation sets in a row of ablation.csv."""
    return [key for key in row if key + DIFFERENCE in row]


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows of ablation.csv as a table for a page, with a caption."""
    sets = set_columns(rows[0])
    headers = [f"{name} {noise} %" if noise else name for name, noise in map(set_and_noise, sets)]
    headers = ["x-step", *headers, "parameters", "GFLOP", "s / image", "poster: Set5 1 %", "poster: GFLOPs"]
    cells = [
        [row["what"], *(f"{row[name]} ({row[name + DIFFERENCE]})" for name in sets)]
        + [f"{int(row['parameters']):,}", *(row[key] for key in ("gflop", "seconds", "paper_psnr", "paper_gflops"))]
        for row in rows
    ]
    text = tabulate(cells, headers, "github", disable_numparse=True)
    iterations, seeds = (rows[0][key] for key in ("iterations", "seeds"))
    return (
        f"PSNR in dB after {iterations} iterations: mean of {seeds} seeds, and in parentheses the largest difference "
        "between seeds. GFLOP (convolutions only) and seconds are for one image of 256x256 pixels. The poster's "
        "networks are larger (probably N = M = 49, three stages) and fully trained; its numbers are read off a plot."
        f"\n\n{text}\n"
    )


# --- the figure


def draw(results: Path, target: Path) -> None:
    """Draw PSNR against operations, for the trainings in `results` (else the published ones) and for the poster.

    The bars show the difference between the seeds. Raises NothingToDrawError if there are no trainings.
    """
    tables = [path for path in (results / "ablation" / "ablation.csv", PUBLISHED / "ablation.csv") if path.is_file()]
    if not tables:
        raise NothingToDrawError("there are no results; first: python studies/ablation.py")
    ours = {}
    for row in read_csv(tables[0]):
        psnr, spread = (fmean(float(row[name + end]) for name in set_columns(row)) for end in ("", DIFFERENCE))
        ours[row["variant"]] = (float(row["gflop"]), psnr, spread / 2)
    poster = {row["solver"]: (float(row["gflops"]), float(row["psnr"]), 0.0) for row in read_csv(POSTER)}
    with plt.rc_context(STYLE):
        page, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for axes, points, title in zip(panels, (ours, poster), TITLES, strict=True):
            for n, (name, (gflop, psnr, spread)) in enumerate(points.items()):
                axes.errorbar(gflop, psnr, spread, fmt="o", color=SEQUENCE[n % len(SEQUENCE)])
                axes.annotate(name, (gflop, psnr), (6, -3), textcoords="offset points", fontsize=8)
            axes.margins(x=0.3, y=0.2)
            axes.set_title(title, loc="left")
            axes.set(xlabel="GFLOP of an image", ylabel="PSNR (dB)")
        save(page, target)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
