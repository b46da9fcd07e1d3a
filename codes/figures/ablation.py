"""The solver experiment: PSNR against operations, for our trainings and for the authors' poster."""

from pathlib import Path

import matplotlib.pyplot as plt

from codes.figures.page import SEQUENCE, STYLE, NothingToDrawError, save
from codes.training.ablation import DIFFERENCE, POSTER, Row, set_columns
from codes.utils.files import PUBLISHED, read_csv

TITLES = ("trained here: mean of the validation sets", "authors' poster: Set5, 1 % noise")


def measured(results: Path) -> list[Row]:
    """The rows of ablation.csv in `results`, else the published ones. Raises NothingToDrawError if there are none."""
    for path in (results / "ablation" / "ablation.csv", PUBLISHED / "ablation.csv"):
        if path.is_file():
            return read_csv(path)
    raise NothingToDrawError("there are no results; first: python codes/scripts/run_ablation.py")


def draw(results: Path, target: Path) -> None:
    """Draw the two panels. The bars of the left one show the difference between the seeds."""
    rows = measured(results)
    sets = set_columns(rows[0])
    ours = {}
    for row in rows:
        psnr, spread = (sum(float(row[name + end]) for name in sets) / len(sets) for end in ("", DIFFERENCE))
        ours[row["variant"]] = (float(row["gflop"]), psnr, spread / 2)
    poster = {row["solver"]: (float(row["gflops"]), float(row["psnr"]), 0.0) for row in read_csv(POSTER)}
    with plt.rc_context(STYLE):
        page, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for axes, points, title in zip(panels, (ours, poster), TITLES, strict=True):
            for n, (name, (gflop, psnr, spread)) in enumerate(points.items()):
                axes.errorbar(gflop, psnr, spread, fmt="o", color=SEQUENCE[n % len(SEQUENCE)])
                axes.annotate(name, (gflop, psnr), (6, -3), textcoords="offset points", fontsize=8)
            axes.margins(x=0.3, y=0.2)
            axes.set_title(title, loc="left")
            axes.set(xlabel="GFLOP of an image", ylabel="PSNR (dB)")
        save(page, target)
