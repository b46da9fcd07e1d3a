"""The learned filters F (prior) and G (data) of every stage as a contact sheet.

A filter of three channels is drawn as a colour picture. Each has its own scale: 0 is grey, and its largest absolute
weight is 0 or full intensity.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from skimage.util import montage

from codes.figures.page import save
from codes.models.paper.dsdnet import DSDNet

COLUMNS = 16  # filters in a row of a sheet
WIDTH, GAP = 9.0, 0.2  # of the page, and between F and G, in inches


def about_grey(weights: np.ndarray) -> np.ndarray:
    """Filters (N, C, h, w) as pictures (N, h, w, 3) in [0, 1]: 0 becomes 0.5, the largest |weight| 0 or 1."""
    largest = np.abs(weights).max((1, 2, 3), keepdims=True)
    pictures = 0.5 + 0.5 * weights / np.maximum(largest, np.finfo(weights.dtype).tiny)
    return np.broadcast_to(pictures, (len(weights), 3, *weights.shape[2:])).transpose(0, 2, 3, 1)


def sheet(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, h, w, 3) side by side, at most COLUMNS in a row, with white lines of one pixel between them."""
    columns = min(COLUMNS, len(pictures))
    grid = (-(-len(pictures) // columns), columns)
    return montage(pictures, fill=(1, 1, 1), grid_shape=grid, padding_width=1, channel_axis=-1)[1:-1, 1:-1]


def draw(net: DSDNet, target: Path) -> None:
    """Draw the banks, F on the left and G on the right, one row for each stage."""
    stages = [
        [sheet(about_grey(bank.weight.detach().numpy())) for bank in banks] for banks in zip(net.F, net.G, strict=True)
    ]
    heights = [max(len(picture) / picture.shape[1] for picture in stage) for stage in stages]
    page = plt.figure(
        figsize=(WIDTH, sum((WIDTH - GAP) / 2 * height + 0.22 for height in heights)), layout="constrained"
    )
    page.get_layout_engine().set(w_pad=0.02, wspace=2 * GAP / WIDTH)
    grid = page.subplots(len(stages), 2, squeeze=False, height_ratios=heights)
    for t, (row, stage) in enumerate(zip(grid, stages, strict=True), 1):
        for axes, picture, name in zip(row, stage, ("F", "G"), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(f"{name}, stage {t}", fontsize=9, loc="left", pad=3)
    save(page, target)
