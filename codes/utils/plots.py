"""The style of all plots: matplotlib without a display, its settings, colours, saving."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from codes.utils.files import write_atomic

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


def save(page: Figure, target: Path, dpi: int = 150) -> None:
    """Write the figure to `target` and close it."""
    write_atomic(target, lambda temporary: page.savefig(temporary, dpi=dpi))
    plt.close(page)
