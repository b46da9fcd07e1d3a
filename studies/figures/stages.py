"""What each stage contributes: crops of x0, x1 ... xT, and their mean PSNR at three noise levels.

The PSNR above a crop is that of the whole image.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import FigureBase
from torch import nn

from codes.data.images import to_8bit
from codes.data.preparation import NOISE_LEVELS, ensure_quickstart, noise_folder
from codes.data.triples import Triple, TripleDataset
from codes.evaluation.metrics import psnr
from codes.utils.files import ROOT
from codes.utils.plots import SEQUENCE, STYLE, save

DATASETS = ROOT / "Datasets"
# The picture of the quickstart set, its noise in percent, and the crop: top, left, height, width.
SHOWN, PERCENT, CROP = "astronaut", 3, (150, 125, 100, 120)
IMAGES = 4  # images of each noise level for the curve


def noisy_set(name: str, percent: int) -> TripleDataset:
    """A set at 1, 3 or 5 percent noise. The embedded set Quickstart is made if it is missing."""
    folder = DATASETS / name
    if name == "Quickstart":
        ensure_quickstart(folder)
    return TripleDataset(folder / "GT", folder / noise_folder(percent), folder / "Kernel")


@torch.inference_mode()
def iterates(net: nn.Module, triple: Triple) -> list[np.ndarray]:
    """x0, x1 ... xT as 8-bit images (H, W, C)."""
    blurry = torch.from_numpy(triple.blurry).permute(2, 0, 1)[None]
    kernel = torch.from_numpy(triple.kernel)[None].float()
    images = [net.initial(blurry, kernel), *net(blurry, kernel, stages=True)]
    return [to_8bit(image[0].permute(1, 2, 0).numpy()) for image in images]


def psnr_of_stages(net: nn.Module, dataset: TripleDataset) -> list[float]:
    """Mean PSNR (dB) of x0, x1 ... xT over the first IMAGES images."""
    triples = [dataset[index] for index in range(min(IMAGES, len(dataset)))]
    scores = [[psnr(to_8bit(triple.ground_truth), x) for x in iterates(net, triple)] for triple in triples]
    return [fmean(stage) for stage in zip(*scores, strict=True)]


def draw(net: nn.Module, target: Path) -> None:
    """Draw the pictures of SHOWN and, next to them, the curve."""
    dataset = noisy_set("Quickstart", PERCENT)
    shown = dataset[[dataset.name(index) for index in range(len(dataset))].index(SHOWN)]
    name, images = "Validation", "held-out images"
    if not (DATASETS / name).is_dir():
        name, images = "Quickstart", "quickstart images"
    curves = {percent: psnr_of_stages(net, noisy_set(name, percent)) for percent in NOISE_LEVELS}
    page = plt.figure(figsize=(9, 3.6), layout="constrained")
    left, right = page.subfigures(1, 2, width_ratios=(6, 3))
    _draw_pictures(left, shown, iterates(net, shown))
    with plt.rc_context(STYLE):
        _draw_curves(right.subplots(), curves, f"PSNR (dB), mean of {IMAGES} {images}")
    save(page, target)


def _draw_pictures(part: FigureBase, triple: Triple, restored: Sequence[np.ndarray]) -> None:
    truth, blurry = to_8bit(triple.ground_truth), to_8bit(triple.blurry)
    names = [f"Blurry, {PERCENT} % noise", "its own $x_0$", *(f"Stage {t}" for t in range(1, len(restored)))]
    panels = [
        (f"{name}\n{psnr(truth, image):.2f} dB", image) for name, image in zip(names, [blurry, *restored], strict=True)
    ]
    panels.append(("Ground truth\n", truth))
    top, left, height, width = CROP
    grid = part.subplots(2, (len(panels) + 1) // 2).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (title, image) in zip(grid, panels, strict=False):
        axes.imshow(image[top : top + height, left : left + width])
        axes.set_title(title, fontsize=8, pad=2)


def _draw_curves(axes: plt.Axes, curves: Mapping[int, Sequence[float]], label: str) -> None:
    for (percent, scores), colour in zip(curves.items(), SEQUENCE, strict=False):
        axes.plot(scores, marker="o", markersize=4, color=colour, label=f"{percent} % noise")
    stages = range(len(next(iter(curves.values()))))
    axes.set_xticks(stages, ["own $x_0$", *stages[1:]])
    axes.set(xlabel="stage", ylabel=label)
    axes.legend()
