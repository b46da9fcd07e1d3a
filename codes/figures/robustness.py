"""PSNR where the inputs are not as a method expects: a panel an experiment of codes/metrics/robustness.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from codes.figures.page import STYLE, NothingToDrawError, colours, save
from codes.metrics.robustness import BASE_NOISE, BORDERS
from codes.utils.errors import warn
from codes.utils.files import ROOT, read_csv

Rows = Sequence[Mapping[str, str]]
"""Rows of robustness.csv: method, label, experiment, value, psnr, ssim, images."""

PANELS = {
    "noise": "noise of the image (%)",
    "kernel_shift": "kernel shifted by (pixels)",
    "kernel_scale": "kernel too large by (%)",
    "kernel_noise": "noise of the kernel (% of its maximum)",
}
BORDER_LABELS = ("replicated,\nwhole", "replicated,\ninterior", "true scene,\nwhole", "true scene,\ninterior")
"""What lies beyond the border, and what is scored: of BORDERS, in its order."""


def measured(results: Path) -> Rows:
    """Our own rows, from `results` if they are whole, or else as published. Raises NothingToDrawError without any."""
    folder, published = results / "robustness", ROOT / "results" / "published" / "robustness.csv"
    path = folder / "robustness.csv" if (folder / "options.yml").is_file() else published
    if path == published:
        warn(f"robustness: {folder} holds no whole measurement; drawn from results/published")
    if not path.is_file():
        raise NothingToDrawError("no measurement of it; first: python codes/scripts/measure_robustness.py")
    return read_csv(path)


def draw(rows: Rows, target: Path) -> None:
    """Draw the panels of the rows to `target`."""
    colour = colours(dict.fromkeys(row["label"] for row in rows))
    with plt.rc_context(STYLE):
        page, grid = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained")
        *panels, border, legend = grid.flat
        for method in colour:
            style = {"color": colour[method], "markersize": 4, "label": method}
            for axes, experiment in zip(panels, PANELS, strict=True):
                axes.plot(*_curve(rows, method, experiment), "o-", **style)
            psnr = {row["value"]: float(row["psnr"]) for row in _of(rows, method, "border")}
            border.plot(range(len(BORDERS)), [psnr[value] for value in BORDERS], "o", **style)
        for axes, label in zip(panels, PANELS.values(), strict=True):
            axes.set_xlabel(label)
        border.set_xticks(range(len(BORDERS)), BORDER_LABELS, fontsize=8)
        border.margins(x=0.15)
        for axes in grid[:, 0]:
            axes.set_ylabel("PSNR (dB)")
        legend.set_axis_off()
        legend.legend(*border.get_legend_handles_labels(), loc="center left", title=_caption(rows), alignment="left")
        save(page, target)


def _caption(rows: Rows) -> str:
    images = "/".join(sorted({row["images"] for row in rows}, key=int))
    return f"Means of {images} images,\nwith {BASE_NOISE:g} % noise but in the first panel"


def _of(rows: Rows, method: str, experiment: str) -> Rows:
    return [row for row in rows if (row["label"], row["experiment"]) == (method, experiment)]


def _curve(rows: Rows, method: str, experiment: str) -> tuple[list[float], list[float]]:
    """Values and PSNR in the values' order; the exact kernel, 0, is the image at BASE_NOISE."""
    points = {float(row["value"]): float(row["psnr"]) for row in _of(rows, method, experiment)}
    if experiment != "noise":
        points[0.0] = next(float(r["psnr"]) for r in _of(rows, method, "noise") if float(r["value"]) == BASE_NOISE)
    values = sorted(points)
    return values, [points[value] for value in values]
