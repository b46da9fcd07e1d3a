"""PSNR with inputs that are not as a method expects: one panel for each experiment of codes/metrics/robustness.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from codes.figures.page import STYLE, NothingToDrawError, colours, finished_or_published, save
from codes.metrics.robustness import BASE_NOISE, BORDERS
from codes.utils.files import PUBLISHED, read_csv

# Rows of robustness.csv: method, label, experiment, value, psnr, ssim, images.
Rows = Sequence[Mapping[str, str]]

PANELS = {
    "noise": "noise of the image (%)",
    "kernel_shift": "kernel shifted by (pixels)",
    "kernel_scale": "kernel too large by (%)",
    "kernel_noise": "noise of the kernel (% of its maximum)",
}
# One label for each of BORDERS: what is beyond the border, and which pixels are scored.
BORDER_LABELS = ("replicated,\nwhole", "replicated,\ninterior", "true scene,\nwhole", "true scene,\ninterior")


def measured(results: Path) -> Rows:
    """The rows in `results` if they are complete, else the published ones. Raises NothingToDrawError without any."""
    folder = finished_or_published(results, "robustness")
    path = PUBLISHED / "robustness.csv" if folder.parent == PUBLISHED else folder / "robustness.csv"
    if not path.is_file():
        raise NothingToDrawError("no measurement; first: python codes/scripts/measure_robustness.py")
    return read_csv(path)


def draw(rows: Rows, target: Path) -> None:
    """Draw one panel for each experiment to `target`."""
    labels = {row["method"]: row["label"] for row in rows}
    colour = colours(labels)
    with plt.rc_context(STYLE):
        page, grid = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained")
        *panels, border, legend = grid.flat
        for method, label in labels.items():
            style = {"color": colour[method], "markersize": 4, "label": label}
            for axes, experiment in zip(panels, PANELS, strict=True):
                axes.plot(*_curve(rows, method, experiment), "o-", **style)
            psnr = {row["value"]: float(row["psnr"]) for row in _rows_of(rows, method, "border")}
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
    return f"Means of {images} images,\n{BASE_NOISE:g} % noise except in the first panel"


def _rows_of(rows: Rows, method: str, experiment: str) -> Rows:
    return [row for row in rows if (row["method"], row["experiment"]) == (method, experiment)]


def _curve(rows: Rows, method: str, experiment: str) -> tuple[list[float], list[float]]:
    """The sorted values and their PSNR. The exact kernel (value 0) is the experiment `noise` at BASE_NOISE."""
    points = {float(row["value"]): float(row["psnr"]) for row in _rows_of(rows, method, experiment)}
    if experiment != "noise":
        points[0.0] = next(float(r["psnr"]) for r in _rows_of(rows, method, "noise") if float(r["value"]) == BASE_NOISE)
    values = sorted(points)
    return values, [points[value] for value in values]
