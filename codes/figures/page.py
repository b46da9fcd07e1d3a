"""What all figures share: matplotlib without a display, the methods' colours, results to draw from, saving."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from codes.evaluation.run import COMPLETE
from codes.utils.errors import UserError, warn
from codes.utils.files import PUBLISHED, write_atomic

# matplotlib's settings for plots. Pictures are drawn with its defaults.
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

# Colours that colour-blind readers can distinguish (Okabe and Ito).
SEQUENCE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "0.45"
_COLOURS = {
    "Blurry": GREY,
    "x0": SEQUENCE[3],
    "Wiener": SEQUENCE[4],
    "Richardson-Lucy": SEQUENCE[5],
    "Hyper-Laplacian": SEQUENCE[2],
    "dsdnet_tiny": SEQUENCE[1],
    "dsdnet_small": SEQUENCE[0],
    "DSDNet": "black",
    "DSDNet-Light": GREY,
}


class NothingToDrawError(UserError):
    """The data of a figure are missing. The message says which, and which command makes them."""


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method id, the same in every figure."""
    others = iter(plt.get_cmap("tab20b").colors * 10)
    return {name: _COLOURS[name] if name in _COLOURS else next(others) for name in methods}


def finished_or_published(results: Path, run: str) -> Path:
    """The folder of a run in `results` if it is complete, else that in results/published, with a warning."""
    if (results / run / COMPLETE).is_file():
        return results / run
    warn(f"{results / run}: no complete run; drawn from results/published")
    return PUBLISHED / run


def save(page: Figure, target: Path, dpi: int = 150) -> None:
    """Write the figure to `target` and close it."""
    write_atomic(target, lambda temporary: page.savefig(temporary, dpi=dpi))
    plt.close(page)
