"""The paper's comparison: the blurry input with its kernel, then two crops of every method's result.

The crops have red and green frames. Methods without results are left out.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from codes.data.images import read_image, to_8bit
from codes.data.kernels import read_kernel
from codes.evaluation.metrics import quality
from codes.options import TestOptions, load_options
from codes.utils.files import ROOT, from_root
from codes.utils.plots import save
from studies.figures.page import NothingToDrawError

FRAMES = ("red", "lime")
_CAPTION = {"ha": "center", "va": "top", "fontsize": 9}


@dataclass(frozen=True)
class Comparison:
    """What a figure shows: an image of a set, two crops (top, left, height, width), and the run with the methods."""

    set_name: str
    image: str
    crops: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    run: str


BSD100 = Comparison("CBSD_n01", "126007", ((70, 225, 80, 110), (180, 330, 80, 110)), "table2")
LAI = Comparison("Jason", "manmade_04_kernel_02", ((250, 60, 120, 165), (330, 520, 120, 165)), "table3")


def draw(shown: Comparison, results: Path, target: Path) -> None:
    """Draw one figure from the restored images below `results`. Raises NothingToDrawError if there are none."""
    options = load_options(TestOptions, ROOT / "options" / "test" / f"{shown.run}.yml")
    roots = next(entry for entry in options.datasets.values() if entry.name == shown.set_name)
    methods = [name for name in options.rows() if name != "Blurry"]
    files = {name: results / shown.run / name / shown.set_name / f"{shown.image}.png" for name in methods}
    files = {name: path for name, path in files.items() if path.is_file()}
    truth_path = from_root(roots.dataroot_GT) / f"{shown.image}.png"
    if not files or not truth_path.is_file():
        raise NothingToDrawError(f"no restored images of {shown.set_name}; first: sh run_scripts.sh tables")
    truth = to_8bit(read_image(truth_path))
    blurry = to_8bit(read_image(from_root(roots.dataroot_LQ) / truth_path.name))
    kernel = read_kernel(from_root(roots.dataroot_KM) / truth_path.name)
    panels = [("Blurry", blurry)]
    panels += [(options.labels()[name], to_8bit(read_image(path))) for name, path in files.items()]
    labels = ["{}\n{:.2f} / {:.3f}".format(name, *quality(truth, image)[:2]) for name, image in panels]
    panels.append(("Ground truth", truth))
    labels.append("Ground truth\nPSNR (dB) / SSIM")

    columns = (len(panels) + 1) // 2
    page = plt.figure(figsize=(5 + 1.75 * columns, 5.2), layout="constrained")
    left, right = page.subfigures(1, 2, width_ratios=(5, 1.75 * columns))
    _draw_input(left.subplots(), blurry, kernel, shown)
    grid = right.subplots(4, columns, squeeze=False)
    for axis in grid.flat:
        axis.axis("off")
    for n, ((_, image), label) in enumerate(zip(panels, labels, strict=True)):
        row, column = 2 * (n // columns), n % columns
        for k, (crop, colour) in enumerate(zip(shown.crops, FRAMES, strict=True)):
            _draw_crop(grid[row + k, column], image, crop, colour)
        grid[row + 1, column].text(0.5, -0.04, label, transform=grid[row + 1, column].transAxes, **_CAPTION)
    save(page, target, dpi=130)


def _draw_input(axis: plt.Axes, blurry: np.ndarray, kernel: np.ndarray, shown: Comparison) -> None:
    axis.imshow(blurry)
    axis.axis("off")
    axis.set_title(f"Blurry input ({shown.image}) and kernel", fontsize=9)
    for (top, left, height, width), colour in zip(shown.crops, FRAMES, strict=True):
        axis.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=2))
    inset = axis.inset_axes((0.0, 0.0, 0.22, 0.22 * blurry.shape[1] / blurry.shape[0]))
    inset.imshow(kernel, cmap="gray")
    inset.set(xticks=[], yticks=[])


def _draw_crop(axis: plt.Axes, image: np.ndarray, crop: tuple[int, int, int, int], colour: str) -> None:
    top, left, height, width = crop
    axis.axis("on")
    axis.imshow(image[top : top + height, left : left + width])
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(edgecolor=colour, linewidth=2)
