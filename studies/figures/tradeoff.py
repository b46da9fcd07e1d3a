"""Quality against cost: PSNR against seconds per image and against the number of parameters.

The points are the rows of Table 2, BSD100 at 1 percent noise. The hollow ones are the paper's DSDNets with their
published PSNR and size, which were not timed. Methods without parameters are lines in the second panel.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter

from codes.evaluation.tables import arrange
from codes.utils.files import read_csv
from codes.utils.plots import STYLE, save
from studies.figures.page import NothingToDrawError, colours, finished_or_published

SET = "CBSD_n01"
# Axes of the two panels: the cost as table.csv calls it, its label, and the form of its numbers.
COSTS = (
    ("seconds", "seconds per image, as timed in the run", "{x:g}"),
    ("parameters", "parameters", EngFormatter(sep=" ")),
)


def points(results: Path) -> tuple[list[dict[str, str]], str]:
    """Rows as in table.csv of all methods on SET whose costs are known, and the number of images.

    They are those of Table 2 in `results` or, if it is incomplete, as published. Raises NothingToDrawError if there
    are none.
    """
    folder = finished_or_published(results, "table2")
    rows = [row for row in read_csv(folder / "summary.csv") if row["set"] == SET] if folder.is_dir() else []
    if not any(row["method"] != "Blurry" for row in rows):
        raise NothingToDrawError(f"no scores of {SET}; first: sh run_scripts.sh tables")
    return [cell for cell in arrange(rows)[0].cells if cell["seconds"] or cell["parameters"]], rows[0]["images"]


def draw(results: Path, target: Path) -> None:
    """Draw the two panels."""
    shown, images = points(results)
    colour, handles = colours(point["method"] for point in shown), {}
    with plt.rc_context(STYLE):
        page, panels = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True, layout="constrained")
        for axes, (cost, label, form) in zip(panels, COSTS, strict=True):
            for point in shown:
                psnr, measured = float(point["psnr"]), point["source"] == "measured"
                style = {"color": colour[point["method"]], "label": point["label"] + ("" if measured else " (paper)")}
                if point[cost] and point["method"] != "Blurry":
                    fill = style["color"] if measured else "white"
                    (handle,) = axes.plot(float(point[cost]), psnr, "o", markerfacecolor=fill, **style)
                elif measured:
                    handle = axes.axhline(psnr, linewidth=1, linestyle=":", **style)
                else:
                    continue
                handles.setdefault(style["label"], handle)
            axes.set_xscale("log")
            axes.margins(x=0.1, y=0.1)
            axes.xaxis.set_major_formatter(form)
            axes.set_xlabel(label)
            axes.set_title(f"BSD100, 1 % noise, mean of {images} images", loc="left")
        panels[0].set_ylabel("PSNR (dB)")
        page.legend(handles=handles.values(), loc="outside right center")
        save(page, target)
