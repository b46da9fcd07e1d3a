"""The ablation's table: a row a variant, the authors' figures beside ours."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from codes.metrics.tables import set_and_noise

COLUMNS_BEFORE = ("variant", "varies", "iterations", "parameters", "conv_gflop", "seconds")
COLUMNS_AFTER = ("paper_psnr", "paper_gflops")
_HEADS = {
    "variant": "Variant",
    "varies": "What varies",
    "parameters": "Parameters",
    "conv_gflop": "GFLOP",
    "seconds": "s / image",
    "paper_psnr": "Set5 1 % (paper)",
    "paper_gflops": "GFLOPs (paper)",
}


def columns(sets: Sequence[str]) -> tuple[str, ...]:
    """The columns of ablation.csv, given the names of the sets whose PSNR they hold."""
    return (*COLUMNS_BEFORE, *sets, *COLUMNS_AFTER)


def markdown_table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """The rows of ablation.csv as the body of table.md."""
    shown = [column for column in columns if column != "iterations"]
    heads = [_HEADS.get(column) or _set_head(column) for column in shown]
    iterations = "/".join(dict.fromkeys(row["iterations"] for row in rows))
    text = tabulate([[row[column] for column in shown] for row in rows], heads, "github", disable_numparse=True)
    return (
        f"PSNR (dB) after {iterations} iterations of training on the same data. GFLOP: of the convolutions, and s: on "
        "this machine, for an image of 256x256 pixels. Columns marked (paper): the authors' network of N = M = 49 and "
        f"three stages (so it seems), fully trained, read off a plot of their poster.\n\n{text}\n"
    )


def _set_head(name: str) -> str:
    name, noise = set_and_noise(name)
    return f"{name} {noise} %" if noise else name
