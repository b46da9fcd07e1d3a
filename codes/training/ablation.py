"""The ablation's option file: one training recipe and named variants of it."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from codes.metrics.tables import PAPER
from codes.options import Options, PlainName, TestSet, load_options
from codes.training.options import TrainOptions
from codes.utils.errors import UserError, nearest
from codes.utils.files import ROOT, from_root, read_csv

OPTION_FILE = ROOT / "options" / "ablation" / "ablation.yml"
POSTER = PAPER / "ablation_solver.csv"


class Variant(Options):
    """One row of the table: what differs from the base recipe."""

    varies: str
    """which part, as the table shows it"""
    set: list[str] = []
    """`a.b.c=value`, as for train.py's --set"""
    poster: str | None = None
    """the row of the authors' poster that this one corresponds to"""


class Quick(Options):
    """What makes the whole ablation a matter of minutes, to see that it runs."""

    set: list[str]
    test: dict[str, TestSet]


class AblationOptions(Options):
    """An ablation: every variant is trained alike and scored on the same images."""

    name: PlainName
    base: str
    """the training option file that the variants override"""
    variants: dict[Annotated[str, Field(pattern=r"^[\w.+-]+$")], Variant] = Field(min_length=1)
    test: dict[str, TestSet]
    """sets that each trained variant is scored on, once"""
    quick: Quick

    def overrides(self, variant: str, quick: bool, more: Sequence[str] = ()) -> list[str]:
        """What train.py is to override of the base recipe."""
        brief = self.quick.set if quick else []
        return [*brief, *self.variants[variant].set, *more, f"name={variant}"]

    def recipe(self, variant: str, quick: bool, more: Sequence[str] = ()) -> TrainOptions:
        """The variant's options, checked. Raises UserError for a mistake in any of the files."""
        try:
            return load_options(TrainOptions, from_root(self.base), self.overrides(variant, quick, more))
        except UserError as error:
            raise UserError(f"variant {variant}: {error}") from None

    def published(self, variant: str) -> dict[str, str]:
        """The poster's row for a variant, {} where it has none. Raises UserError for an unknown row."""
        name = self.variants[variant].poster
        if name is None:
            return {}
        rows = {row["solver"]: row for row in read_csv(POSTER)}
        if name not in rows:
            raise UserError(f"variant {variant}: poster: unknown row '{name}'; {nearest(name, rows)}")
        return rows[name]
