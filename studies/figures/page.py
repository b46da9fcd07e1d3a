"""What the figures share: the methods' colours, and the results to draw from."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt

from codes.evaluation.run import COMPLETE
from codes.utils.errors import UserError, warn
from codes.utils.files import PUBLISHED
from codes.utils.plots import SEQUENCE

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
