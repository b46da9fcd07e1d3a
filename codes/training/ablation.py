"""The solver experiment: its option file, the trainings that it consists of, and its table of results.

All variants train the same network with different x-steps, with each of several seeds. All variants of one seed see the
same patches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pydantic import Field, NonNegativeInt
from tabulate import tabulate

from codes.metrics.complexity import Complexity
from codes.metrics.tables import PAPER, set_and_noise
from codes.options import Name, Options, load_options
from codes.training.options import TrainOptions
from codes.utils.errors import UserError, nearest
from codes.utils.files import ROOT, from_root, read_csv

OPTION_FILE = ROOT / "options" / "ablation" / "ablation.yml"
POSTER = PAPER / "ablation_solver.csv"
DIFFERENCE = " difference"  # ends the name of the column with the largest difference between the seeds

Row = Mapping[str, str]


class Variant(Options):
    """One row of the table: what differs from the base training."""

    what: str = Field(description="The x-step in words, for the table.")
    set: list[str] = Field([], description="Overrides `a.b.c=value` of the base option file.")
    poster: str | None = Field(None, description="The corresponding row of the authors' poster.")


class Quick(Options):
    """Overrides that shorten the experiment to minutes, to check that it runs."""

    set: list[str]


class AblationOptions(Options):
    """An experiment whose variants are trained with the same images, iterations and seeds."""

    name: Name
    base: str = Field(description="The training option file that the variants override.")
    seeds: list[NonNegativeInt] = Field(min_length=1, description="Values of train.manual_seed.")
    variants: dict[Name, Variant] = Field(min_length=1)
    quick: Quick

    def recipe(self, variant: str, seed: int, quick: bool, more: Sequence[str] = ()) -> TrainOptions:
        """The options of one training. `more`: further overrides. Raises UserError for a mistake in any file."""
        brief = self.quick.set if quick else []
        own = [f"train.manual_seed={seed}", f"name={variant}_{seed}"]
        try:
            overrides = [*brief, *self.variants[variant].set, *more, *own]
            return load_options(TrainOptions, from_root(self.base), overrides)
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


def final_psnr(recipe: TrainOptions, experiment: Path) -> dict[str, float] | None:
    """PSNR (dB) of every validation set at the end of a training; None if the training is not finished."""
    table = experiment / "validation.csv"
    rows = read_csv(table) if table.is_file() else []
    end = {row["set"]: float(row["psnr"]) for row in rows if int(row["iteration"]) == recipe.train.niter}
    names = {key: test_set.name for key, test_set in recipe.datasets.val.items()}
    return {names[key]: end[key] for key in names} if end.keys() >= names.keys() else None


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
        values = [of_seed[name] for of_seed in scores]
        row[name], row[name + DIFFERENCE] = f"{fmean(values):.2f}", f"{max(values) - min(values):.2f}"
    return row | {"paper_psnr": poster.get("psnr", ""), "paper_gflops": poster.get("gflops", "")}


def set_columns(row: Row) -> list[str]:
    """The names of the validation sets in a row of ablation.csv."""
    return [key for key in row if key + DIFFERENCE in row]


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows of ablation.csv as a table for a page, with a caption."""
    sets = set_columns(rows[0])
    heads = [f"{name} {noise} %" if noise else name for name, noise in map(set_and_noise, sets)]
    heads = ["x-step", *heads, "parameters", "GFLOP", "s / image", "poster: Set5 1 %", "poster: GFLOPs"]
    cells = [
        [row["what"], *(f"{row[name]} ({row[name + DIFFERENCE]})" for name in sets)]
        + [f"{int(row['parameters']):,}", *(row[key] for key in ("gflop", "seconds", "paper_psnr", "paper_gflops"))]
        for row in rows
    ]
    text = tabulate(cells, heads, "github", disable_numparse=True)
    iterations, seeds = (rows[0][key] for key in ("iterations", "seeds"))
    return (
        f"PSNR in dB after {iterations} iterations: mean of {seeds} seeds, and in parentheses the largest difference "
        "between seeds. GFLOP (convolutions only) and seconds are for one image of 256x256 pixels. The poster's "
        "networks are larger (probably N = M = 49, three stages) and fully trained; its numbers are read off a plot."
        f"\n\n{text}\n"
    )
