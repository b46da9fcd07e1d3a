"""The validation curve of a training: PSNR and SSIM of each set over the iterations and hours."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from codes.utils.plots import SEQUENCE, STYLE, save

# Rows of validation.csv: iteration, set, psnr, ssim, hours.
Curve = Sequence[Mapping[str, str]]


def draw_curve(curve: Curve, target: Path, images: int | None = None) -> None:
    """Draw a curve to `target`. images: number of validation images of each set, None for all."""
    on = f", first {images} images" if images else ""
    names = list(dict.fromkeys(row["set"] for row in curve))
    levels = list(dict.fromkeys(_level(name) for name in names))
    with plt.rc_context(STYLE):
        page, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for axes, key, label in zip(panels, ("psnr", "ssim"), ("PSNR (dB)", "SSIM"), strict=True):
            for name in names:
                rows = [row for row in curve if row["set"] == name]
                x, y = ([float(row[column]) for row in rows] for column in ("iteration", key))
                colour = SEQUENCE[levels.index(_level(name)) % len(SEQUENCE)]
                line = "--" if name.startswith("grey") else "-"
                axes.plot(x, y, line, color=colour, marker=".", markersize=4, label=_title(name))
            axes.set(xlabel="iteration", ylabel=f"validation {label}{on}")
            axes.set_xlim(left=0)
            _hours_above(axes, curve)
        page.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
        save(page, target)


def _hours_above(axes: plt.Axes, curve: Curve) -> None:
    """Add a second axis with the hours of training."""
    iterations, hours = ([0.0] + [float(row[key]) for row in curve] for key in ("iteration", "hours"))
    ticks = [tick for tick in MaxNLocator(6).tick_values(0, max(hours)) if tick <= max(hours)]
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks, hours, iterations), [f"{tick:g}" for tick in ticks])
    top.set_xlabel("hours")


def _level(name: str) -> str:
    """The noise level of a set: `05` of n05 and grey_n05."""
    return name.rpartition("n")[2]


def _title(name: str) -> str:
    """`grey, 5 % noise` for the set grey_n05; other names are unchanged."""
    match = re.fullmatch(r"(?:(.+)_)?n(\d+)", name)
    return ", ".join(filter(None, (match[1], f"{int(match[2])} % noise"))) if match else name
