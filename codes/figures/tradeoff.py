"""Quality against cost: PSNR over seconds an image and over the number of parameters.

Measured are the rows of Table 2, BSD100 at 1 percent noise; the paper's DSDNets, of published PSNR
and size, are hollow. Methods without parameters are lines in the second panel.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from codes.figures.page import GREY, STYLE, NothingToDrawError, colours, save
from codes.metrics.run import COMPLETE
from codes.metrics.tables import PAPER
from codes.models.factory import build_network
from codes.options import TestOptions, load_options
from codes.utils.errors import warn
from codes.utils.files import ROOT, read_csv

RUN, SET, NOISE = "table2", "CBSD_n01", "1"
PAPER_SET = "BSD100"
_SIZES = {"DSDNet-Light": "Light", "DSDNet": "Full"}
"""The paper's methods whose size is known, and their names in sizes.csv."""


LABEL_HEIGHT = 0.5
"""dB: a line this close below another one has its label at the right"""
LABEL_WIDTH = 1.5
"""difference of the logarithms of seconds: of two points this close in both ways one has its label below"""


@dataclass(frozen=True)
class Point:
    """A method: mean PSNR (dB), seconds an image (None: not measured here), number of parameters, images."""

    method: str
    psnr: float
    seconds: float | None
    parameters: int
    images: int


def measured(results: Path) -> list[Point]:
    """The rows of our own table, from `results` or else as published. Raises NothingToDrawError without any."""
    own, published = results / RUN, ROOT / "results" / "published" / RUN
    folder = own if (own / COMPLETE).is_file() else published
    rows = [row for row in read_csv(folder / "summary.csv") if row["set"] == SET] if folder.is_dir() else []
    if not rows:
        raise NothingToDrawError(f"no scores of {SET}; first: sh run_scripts.sh tables")
    if folder == published:
        warn(f"tradeoff: {own} holds no whole run; drawn from results/published")
    methods = load_options(TestOptions, folder / COMPLETE).rows()
    points = []
    for row in rows:
        with torch.device("meta"):  # only counted, so no memory
            network = build_network(methods[row["method"]].network_G)
        size = sum(parameter.numel() for parameter in network.parameters())
        points.append(Point(row["label"], float(row["psnr"]), float(row["seconds"]), size, int(row["images"])))
    return points


def published() -> list[Point]:
    """The paper's networks of known size."""
    sizes = {row["network"]: row["parameters"] for row in read_csv(PAPER / "sizes.csv")}
    return [
        Point(row["method"], float(row["psnr"]), None, round(1e6 * float(sizes[_SIZES[row["method"]]][:-1])), 100)
        for row in read_csv(PAPER / "table2.csv")
        if (row["set"], row["noise"]) == (PAPER_SET, NOISE) and row["method"] in _SIZES
    ]


def draw(results: Path, target: Path) -> None:
    """Draw the two panels."""
    points = measured(results)
    blurry = [point for point in points if point.method == "Blurry"]
    points = [point for point in points if point.method != "Blurry"]
    if not points:
        raise NothingToDrawError(f"no scores of {SET} but the blurry images'; run sh run_scripts.sh tables again")
    colour = colours(point.method for point in points)
    with plt.rc_context(STYLE):
        page, (by_time, by_size) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
        for number, point in enumerate(points):
            beside = any(_are_close(point, other) for other in points[:number])
            by_time.plot(point.seconds, point.psnr, "o", color=colour[point.method])
            _label(by_time, point.seconds, point, point.method, colour[point.method], under=beside)
            if point.parameters:
                by_size.plot(point.parameters, point.psnr, "o", color=colour[point.method])
                _label(by_size, point.parameters, point, point.method, colour[point.method])
        above = float("inf")
        for point in sorted((p for p in points if not p.parameters), key=lambda p: -p.psnr):
            close = above - point.psnr < LABEL_HEIGHT
            _line(by_size, point.psnr, point.method, colour[point.method], at_right=close)
            above = point.psnr
        for point in published():
            by_size.plot(point.parameters, point.psnr, "o", color=GREY, markerfacecolor="white")
            _label(by_size, point.parameters, point, f"{point.method} (paper)", GREY)
        for axes in (by_time, by_size):
            for point in blurry:
                _line(axes, point.psnr, "Blurry input", GREY)
            axes.set_xscale("log")
            axes.margins(x=0.25, y=0.1)
            axes.set_title(f"{PAPER_SET}, {NOISE} % noise, mean of {points[0].images} images", loc="left")
        by_time.set(xlabel="seconds an image, as timed in the run", ylabel="PSNR (dB)")
        by_time.xaxis.set_major_formatter("{x:g}")
        by_size.set(xlabel="parameters")
        by_size.xaxis.set_major_formatter(EngFormatter(sep=" "))
        by_size.legend(handles=_kinds(), loc="lower right", bbox_to_anchor=(1, 0.09))
        save(page, target)


def _kinds() -> list[Line2D]:
    """What the marks of the second panel mean."""
    dot = {"linestyle": "", "marker": "o", "color": GREY}
    return [
        Line2D([], [], **dot, label="measured here"),
        Line2D([], [], **dot, markerfacecolor="white", label="published, not measured here"),
        Line2D([], [], linestyle=":", color=GREY, label="no parameters"),
    ]


def _are_close(one: Point, other: Point) -> bool:
    """Whether labels above both would overlap."""
    return abs(one.psnr - other.psnr) < LABEL_HEIGHT and abs(math.log(one.seconds / other.seconds)) < LABEL_WIDTH


def _label(axes: plt.Axes, x: float, point: Point, text: str, colour: str, under: bool = False) -> None:
    style = {"ha": "center", "va": "top" if under else "baseline", "color": colour, "fontsize": 8}
    axes.annotate(text, (x, point.psnr), (0, -5 if under else 6), textcoords="offset points", **style)


def _line(axes: plt.Axes, psnr: float, text: str, colour: str, at_right: bool = False) -> None:
    axes.axhline(psnr, color=colour, linewidth=1, linestyle=":")
    place = axes.get_yaxis_transform()
    x, align = (0.99, "right") if at_right else (0.01, "left")
    style = {"color": colour, "fontsize": 8, "ha": align}
    axes.annotate(text, (x, psnr), (0, 2), xycoords=place, textcoords="offset points", **style)
