"""What all figures share: matplotlib without a display, the methods' colours, saving."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from codes.utils.errors import UserError
from codes.utils.files import write_atomic

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
"""matplotlib's settings for plots; pictures are drawn with its defaults"""

SEQUENCE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that the colour-blind can tell apart (Okabe and Ito)."""
GREY = "0.45"
_COLOURS = {
    "Blurry": GREY,
    "x0": SEQUENCE[3],
    "Wiener": SEQUENCE[4],
    "Richardson-Lucy": SEQUENCE[5],
    "Hyper-Laplacian": SEQUENCE[2],
    "DSDNet-Tiny (ours)": SEQUENCE[1],
    "DSDNet-Light": SEQUENCE[0],
    "DSDNet": "black",
}


class NothingToDrawError(UserError):
    """What a figure shows is not there; the message says what and which command makes it."""


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method: the same in every figure, of one's own methods in turn."""
    others = iter(plt.get_cmap("tab20b").colors * 10)
    return {name: _COLOURS[name] if name in _COLOURS else next(others) for name in methods}


def save(page: Figure, target: Path, dpi: int = 150) -> None:
    """Write the figure to `target` and close it."""
    write_atomic(target, lambda temporary: page.savefig(temporary, dpi=dpi))
    plt.close(page)
