"""The learned shrinkage functions of some channels, next to soft thresholding.

A Maxout layer sees 3x3 neighbours, so its output is no function of the input pixel alone. The figure therefore shows
real data: the inputs F x + u and G(y - Hx) + u for the quickstart images at 3 percent noise, pixel by pixel, against
the layer's output at the same pixel. The line is the median of the outputs for inputs of about the same value, the
band their 10 to 90 percent. Dashed: the scaled soft threshold s sign(a) max(|a| - t, 0) that fits the line best (least
squares). Dotted: output = input. The outermost 0.5 percent of the inputs on either side are not shown. The channels
are the first, the middle and the last one of each bank.
"""

from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from codes.data.triples import TripleDataset
from codes.figures import shipped
from codes.figures.page import GREY, SEQUENCE, STYLE, save
from codes.models.paper.dsdnet import DSDNet

PERCENT = 3  # noise of the images
CHANNELS = 3  # shown of each bank
BINS, LEAST = 50, 100  # bins of the input's range, and pixels that a bin needs to be drawn


class Band(NamedTuple):
    """Median and 10 to 90 percent of the outputs at some inputs; all (bins,)."""

    inputs: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


class SoftThreshold(NamedTuple):
    """scale * sign(a) * max(|a| - threshold, 0)."""

    scale: float
    threshold: float

    def __call__(self, a: np.ndarray) -> np.ndarray:
        return self.scale * np.sign(a) * np.maximum(np.abs(a) - self.threshold, 0)


def band(inputs: np.ndarray, outputs: np.ndarray) -> Band:
    """The band of outputs over inputs, both (pixels,), in bins of equal width."""
    edges = np.linspace(*np.quantile(inputs, (0.005, 0.995)), BINS + 1)
    number = np.digitize(inputs, edges)
    rows = []
    for n in range(1, BINS + 1):
        inside = number == n
        if inside.sum() >= LEAST:
            rows.append((inputs[inside].mean(), *np.quantile(outputs[inside], (0.1, 0.5, 0.9))))
    return Band(*np.array(rows).T)


def fitted(curve: Band) -> SoftThreshold:
    """The soft threshold that fits the median best (least squares)."""

    def scaled(threshold: float) -> SoftThreshold:
        shape = SoftThreshold(1.0, threshold)(curve.inputs)
        return SoftThreshold(float(shape @ curve.median / max(shape @ shape, 1e-12)), threshold)

    def error(threshold: float) -> float:
        return float(np.square(scaled(threshold)(curve.inputs) - curve.median).sum())

    largest = np.abs(curve.inputs).max()
    return scaled(minimize_scalar(error, bounds=(0, largest / 2), method="bounded").x)


@torch.inference_mode()
def responses(net: DSDNet, dataset: TripleDataset) -> dict[nn.Module, tuple[np.ndarray, np.ndarray]]:
    """Inputs and outputs (channels, pixels) of each shrinkage layer, over all images."""
    seen: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.setdefault(layer, []).append((inputs[0][0].flatten(1), output[0].flatten(1)))

    hooks = [layer.register_forward_hook(keep) for layer in (*net.shrink_v, *net.shrink_z)]
    for index in range(len(dataset)):
        triple = dataset[index]
        net(torch.from_numpy(triple.blurry).permute(2, 0, 1)[None], torch.from_numpy(triple.kernel)[None])
    for hook in hooks:
        hook.remove()
    return {
        layer: tuple(torch.cat(parts, 1).numpy() for parts in zip(*pairs, strict=True)) for layer, pairs in seen.items()
    }


def draw(net: DSDNet, target: Path) -> None:
    """Draw the functions, one row for each stage: F's channels on the left, G's on the right."""
    seen = responses(net, shipped.quickstart(PERCENT))
    with plt.rc_context(STYLE):
        page = plt.figure(figsize=(11, 0.5 + 1.9 * net.n_iter), layout="constrained")
        grid = page.subplots(net.n_iter, 2 * CHANNELS, squeeze=False)
        for t, row in enumerate(grid):
            columns = iter(row)
            for bank, layers in (("F", net.shrink_v), ("G", net.shrink_z)):
                inputs, outputs = seen[layers[t]]
                for channel in np.linspace(0, len(inputs) - 1, CHANNELS).round().astype(int):
                    axes = next(columns)
                    _draw_channel(axes, band(inputs[channel], outputs[channel]))
                    axes.set_title(f"${bank}_{{{channel + 1}}}$, stage {t + 1}", loc="left")
        page.supxlabel("input of the shrinkage function", fontsize=9)
        page.supylabel("output", fontsize=9)
        page.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        save(page, target)


def _draw_channel(axes: plt.Axes, curve: Band) -> None:
    soft = fitted(curve)
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=":", label="output = input")
    axes.fill_between(curve.inputs, curve.low, curve.high, color=SEQUENCE[0], alpha=0.25, linewidth=0, label="10-90 %")
    axes.plot(curve.inputs, curve.median, color=SEQUENCE[0], label="median of the learned function's outputs")
    axes.plot(curve.inputs, soft(curve.inputs), "--", color=SEQUENCE[1], label="soft threshold fitted to it")
    bottom, top = curve.low.min(), curve.high.max()
    margin = 0.05 * (top - bottom)
    axes.set_ylim(bottom - margin, top + margin)
    axes.text(
        0.97, 0.05, f"s = {soft.scale:.2f}\nt = {soft.threshold:.3f}", transform=axes.transAxes, ha="right", fontsize=7
    )
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=3)
