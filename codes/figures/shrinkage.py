"""The learned shrinkage functions of some channels, next to soft thresholding.

A Maxout layer sees 3x3 neighbours, so its output does not depend on the input pixel alone. The figure therefore shows
real data: the inputs F x + u and G(y - Hx) + u for the quickstart images at 3 percent noise, pixel by pixel, against
the layer's output at the same pixel. The line is the median of the outputs for inputs of about the same value, the band
their 10 to 90 percent. The dashed line is the scaled soft threshold s sign(a) max(|a| - t, 0) that fits it best (least
squares). The dotted line is output = input. The outermost 0.5 percent of the inputs on either side are not shown. The
channels are the first, the middle and the last one of each bank.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from codes.data.triples import TripleDataset
from codes.figures.page import GREY, SEQUENCE, STYLE, save
from codes.figures.stages import noisy_set
from codes.models.paper.dsdnet import DSDNet

PERCENT = 3  # noise of the images
CHANNELS = 3  # shown of each bank
BINS, LEAST = 50, 100  # bins of the input's range, and pixels that a bin needs to be drawn


def soft_threshold(a: np.ndarray, scale: float, threshold: float) -> np.ndarray:
    """scale * sign(a) * max(|a| - threshold, 0)."""
    return scale * np.sign(a) * np.maximum(np.abs(a) - threshold, 0)


def band(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Outputs over inputs, both (pixels,), in bins of equal width, as (4, bins).

    The rows are the mean input, and the 10 percent quantile, the median and the 90 percent quantile of the outputs.
    """
    edges = np.linspace(*np.quantile(inputs, (0.005, 0.995)), BINS + 1)
    number = np.digitize(inputs, edges)
    rows = []
    for n in range(1, BINS + 1):
        inside = number == n
        if inside.sum() >= LEAST:
            rows.append((inputs[inside].mean(), *np.quantile(outputs[inside], (0.1, 0.5, 0.9))))
    return np.array(rows).T


def fitted(inputs: np.ndarray, outputs: np.ndarray) -> tuple[float, float]:
    """Scale and threshold of the soft threshold that fits outputs at some inputs best (least squares)."""

    def scale_of(threshold: float) -> float:
        shape = soft_threshold(inputs, 1.0, threshold)
        return float(shape @ outputs / max(shape @ shape, 1e-12))

    def error(threshold: float) -> float:
        return float(np.square(soft_threshold(inputs, scale_of(threshold), threshold) - outputs).sum())

    best = minimize_scalar(error, bounds=(0, np.abs(inputs).max() / 2), method="bounded").x
    return scale_of(best), best


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
    seen = responses(net, noisy_set("Quickstart", PERCENT))
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


def _draw_channel(axes: plt.Axes, curve: np.ndarray) -> None:
    inputs, low, median, high = curve
    scale, threshold = fitted(inputs, median)
    soft = soft_threshold(inputs, scale, threshold)
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=":", label="output = input")
    axes.fill_between(inputs, low, high, color=SEQUENCE[0], alpha=0.25, linewidth=0, label="10-90 %")
    axes.plot(inputs, median, color=SEQUENCE[0], label="median of the learned function's outputs")
    axes.plot(inputs, soft, "--", color=SEQUENCE[1], label="soft threshold fitted to it")
    margin = 0.05 * np.ptp((low, high))
    axes.set_ylim(low.min() - margin, high.max() + margin)
    text = f"s = {scale:.2f}\nt = {threshold:.3f}"
    axes.text(0.97, 0.05, text, transform=axes.transAxes, ha="right", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=3)
