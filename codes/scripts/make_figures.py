"""Draw fig/EV1.png (BSD100) and fig/EV2.png (Lai) from the results of the tables.

    python codes/scripts/make_figures.py

The layout of the paper's comparison: the blurry input with its kernel, then two crops, framed in
red and green, of every method that has results, and the ground truth. A figure whose results are
not there is said and left out.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import read_image, to_8bit
from codes.data.kernels import read_kernel
from codes.metrics.quality import quality
from codes.options import TestOptions, TestSet, load_options
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, from_root, write_atomic

FRAMES = ("red", "lime")


@dataclass(frozen=True)
class Figure:
    """What a figure shows: an image of a set, two crops (top, left, height, width), the run with the methods."""

    file: str
    set_name: str
    image: str
    crops: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    run: str


FIGURES = (
    Figure(
        "EV1.png",
        "CBSD_n01",
        "126007",
        ((70, 225, 80, 110), (180, 330, 80, 110)),
        "table2",
    ),
    Figure(
        "EV2.png",
        "Jason",
        "manmade_04_kernel_02",
        ((250, 60, 120, 165), (330, 520, 120, 165)),
        "table3",
    ),
)


def restored_files(figure: Figure, results: Path) -> dict[str, Path]:
    """Method -> its restored image, of all methods that have one."""
    methods = [name for name in read_options(figure).rows() if name != "Blurry"]
    paths = {name: results / figure.run / name / figure.set_name / f"{figure.image}.png" for name in methods}
    return {name: path for name, path in paths.items() if path.is_file()}


def test_set(figure: Figure) -> TestSet:
    """The set's entry in the figure's option file."""
    return next(entry for entry in read_options(figure).datasets.values() if entry.name == figure.set_name)


def read_options(figure: Figure) -> TestOptions:
    """The option file of the figure's run."""
    return load_options(TestOptions, ROOT / "options" / "test" / f"{figure.run}.yml")


def draw(figure: Figure, results: Path, target: Path) -> bool:
    """Draw one figure; False where there are no results for it."""
    files = restored_files(figure, results)
    roots = test_set(figure)
    truth_path = from_root(roots.dataroot_GT) / f"{figure.image}.png"
    if not files or not truth_path.is_file():
        return False
    truth = to_8bit(read_image(truth_path))
    blurry = to_8bit(read_image(from_root(roots.dataroot_LQ) / truth_path.name))
    kernel = read_kernel(from_root(roots.dataroot_KM) / truth_path.name)
    panels = [("Blurry", blurry)]
    panels += [(name, to_8bit(read_image(path))) for name, path in files.items()]
    labels = ["{}\n{:.2f} / {:.3f}".format(name, *quality(truth, image)[:2]) for name, image in panels]
    panels.append(("Ground truth", truth))
    labels.append("Ground truth\nPSNR (dB) / SSIM")

    columns = (len(panels) + 1) // 2
    page = plt.figure(figsize=(5 + 1.75 * columns, 5.2), layout="constrained")
    left, right = page.subfigures(1, 2, width_ratios=(5, 1.75 * columns))
    _draw_input(left.subplots(), blurry, kernel, figure)
    grid = right.subplots(4, columns, squeeze=False)
    for axis in grid.flat:
        axis.axis("off")
    for n, ((_, image), label) in enumerate(zip(panels, labels, strict=True)):
        row, column = 2 * (n // columns), n % columns
        for k, (crop, colour) in enumerate(zip(figure.crops, FRAMES, strict=True)):
            _draw_crop(grid[row + k, column], image, crop, colour)
        grid[row + 1, column].text(0.5, -0.04, label, transform=grid[row + 1, column].transAxes, **_CAPTION)
    write_atomic(target, lambda temporary: page.savefig(temporary, dpi=130))
    plt.close(page)
    return True


_CAPTION = {"ha": "center", "va": "top", "fontsize": 9}


def _draw_input(axis: plt.Axes, blurry: np.ndarray, kernel: np.ndarray, figure: Figure) -> None:
    axis.imshow(blurry)
    axis.axis("off")
    axis.set_title(f"Blurry input ({figure.image}) and kernel", fontsize=9)
    for (top, left, height, width), colour in zip(figure.crops, FRAMES, strict=True):
        axis.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=2))
    inset = axis.inset_axes((0.0, 0.0, 0.22, 0.22 * blurry.shape[1] / blurry.shape[0]))
    inset.imshow(kernel, cmap="gray")
    inset.set_xticks([])
    inset.set_yticks([])


def _draw_crop(axis: plt.Axes, image: np.ndarray, crop: tuple[int, int, int, int], colour: str) -> None:
    top, left, height, width = crop
    axis.axis("on")
    axis.imshow(image[top : top + height, left : left + width])
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(edgecolor=colour, linewidth=2)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--target", type=Path, default=ROOT / "fig", help="default: fig")
    arguments = parser.parse_args(argv)
    for figure in FIGURES:
        if draw(figure, arguments.results, arguments.target / figure.file):
            print(f"{arguments.target / figure.file}: drawn")
        else:
            print(f"{figure.file}: left out, no results of {figure.set_name}; first: sh run_scripts.sh tables")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
