"""Quality against cost: PSNR against seconds per image and against the number of parameters.

The points are the rows of Table 2, BSD100 at 1 percent noise. The hollow ones are the paper's DSDNets with their
published PSNR and size. Methods without parameters are lines in the second panel.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from codes.figures.page import GREY, STYLE, NothingToDrawError, colours, finished_or_published, save
from codes.metrics.tables import PAPER, published_sizes
from codes.utils.files import read_csv

RUN, SET, NOISE = "table2", "CBSD_n01", "1"
PAPER_SET = "BSD100"
BLURRY = "Blurry"  # id of the row with the scores of the input

# Two labels overlap if they are closer than this: in dB, and in the logarithm of seconds.
LABEL_HEIGHT, LABEL_WIDTH = 0.5, 1.5


@dataclass(frozen=True)
class Point:
    """A method: id and label, mean PSNR (dB), seconds per image (None: not measured here), parameters, images."""

    method: str
    label: str
    psnr: float
    seconds: float | None
    parameters: int
    images: int


def measured(results: Path) -> list[Point]:
    """The rows of Table 2 in `results` or, if incomplete, as published. Raises NothingToDrawError without any."""
    folder = finished_or_published(results, RUN)
    rows = [row for row in read_csv(folder / "summary.csv") if row["set"] == SET] if folder.is_dir() else []
    if not any(row["method"] != BLURRY for row in rows):
        raise NothingToDrawError(f"no scores of {SET}; first: sh run_scripts.sh tables")
    points = []
    for row in rows:
        psnr, seconds = float(row["psnr"]), float(row["seconds"])
        points.append(Point(row["method"], row["label"], psnr, seconds, int(row["parameters"]), int(row["images"])))
    return points


def published() -> list[Point]:
    """The paper's networks of known size."""
    sizes = {name: round(1e6 * float(size.removesuffix("M"))) for name, size in published_sizes().items()}
    points = []
    for row in read_csv(PAPER / "table2.csv"):
        name = row["method"]
        if (row["set"], row["noise"]) == (PAPER_SET, NOISE) and name in sizes:
            points.append(Point(name, f"{name} (paper)", float(row["psnr"]), None, sizes[name], 100))
    return points


def draw(results: Path, target: Path) -> None:
    """Draw the two panels."""
    points = measured(results)
    colour = colours(point.method for point in points)
    restoring = [point for point in points if point.method != BLURRY]
    with plt.rc_context(STYLE):
        page, (by_time, by_size) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
        for number, point in enumerate(restoring):
            under = any(_are_close(point, other) for other in restoring[:number])
            by_time.plot(point.seconds, point.psnr, "o", color=colour[point.method])
            _label(by_time, point.seconds, point, colour[point.method], under)
        _draw_by_size(by_size, restoring, colour)
        for axes in (by_time, by_size):
            for point in points:
                if point.method == BLURRY:
                    _line(axes, point, GREY)
            axes.set_xscale("log")
            axes.margins(x=0.25, y=0.1)
            axes.set_title(f"{PAPER_SET}, {NOISE} % noise, mean of {points[0].images} images", loc="left")
        by_time.set(xlabel="seconds per image, as timed in the run", ylabel="PSNR (dB)")
        by_time.xaxis.set_major_formatter("{x:g}")
        by_size.xaxis.set_major_formatter(EngFormatter(sep=" "))
        save(page, target)


def _draw_by_size(axes: plt.Axes, points: Sequence[Point], colour: Mapping[str, str]) -> None:
    for point in points:
        if point.parameters:
            axes.plot(point.parameters, point.psnr, "o", color=colour[point.method])
            _label(axes, point.parameters, point, colour[point.method])
    above = float("inf")
    for point in sorted((p for p in points if not p.parameters), key=lambda p: -p.psnr):
        _line(axes, point, colour[point.method], at_right=above - point.psnr < LABEL_HEIGHT)
        above = point.psnr
    for point in published():
        axes.plot(point.parameters, point.psnr, "o", color=GREY, markerfacecolor="white")
        _label(axes, point.parameters, point, GREY)
    axes.set(xlabel="parameters")
    axes.legend(handles=_kinds(), loc="lower right", bbox_to_anchor=(1, 0.09))


def _kinds() -> list[Line2D]:
    """The legend of the second panel's marks."""
    dot = {"linestyle": "", "marker": "o", "color": GREY}
    return [
        Line2D([], [], **dot, label="measured here"),
        Line2D([], [], **dot, markerfacecolor="white", label="published, not measured here"),
        Line2D([], [], linestyle=":", color=GREY, label="no parameters"),
    ]


def _are_close(one: Point, other: Point) -> bool:
    """True if labels above both would overlap."""
    return abs(one.psnr - other.psnr) < LABEL_HEIGHT and abs(math.log(one.seconds / other.seconds)) < LABEL_WIDTH


def _label(axes: plt.Axes, x: float, point: Point, colour: str, under: bool = False) -> None:
    style = {"ha": "center", "va": "top" if under else "baseline", "color": colour, "fontsize": 8}
    axes.annotate(point.label, (x, point.psnr), (0, -5 if under else 6), textcoords="offset points", **style)


def _line(axes: plt.Axes, point: Point, colour: str, at_right: bool = False) -> None:
    axes.axhline(point.psnr, color=colour, linewidth=1, linestyle=":")
    x, align = (0.99, "right") if at_right else (0.01, "left")
    style = {"color": colour, "fontsize": 8, "ha": align, "xycoords": axes.get_yaxis_transform()}
    axes.annotate(point.label, (x, point.psnr), (0, 2), textcoords="offset points", **style)
