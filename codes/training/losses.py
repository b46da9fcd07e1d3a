"""The training loss: pixel and Fourier terms for every stage, optionally also on the result blurred again."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from codes.data.patches import Sample
from codes.models.paper.blur import Blur
from codes.training.options import Recipe

CHARBONNIER_EPSILON = 1e-3

# MMSR's `pixel_criterion`: the mean over all values of a difference of images.
PIXEL_CRITERIA: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda difference: difference.abs().mean(),
    "l2": lambda difference: difference.square().mean(),
    "cb": lambda difference: (difference.square() + CHARBONNIER_EPSILON**2).sqrt().mean(),
}


def difference(x: Tensor, batch: Sample) -> Tensor:
    """x - sharp (B, C, H, W). Where sharp is brighter than white, or white in a masked batch, x may be as well.

    A file holds nothing brighter than white, and the true brightness of a clipped light is hardly known.
    """
    bright = batch.sharp > 1 if batch.mask is None else batch.sharp >= 1
    return torch.where(bright, (x - 1).clamp(max=0), x - batch.sharp)


def training_loss(stages: Sequence[Tensor], batch: Sample, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all terms over the stages x_1 ... x_T, and the terms by name, detached."""
    pixel = PIXEL_CRITERIA[recipe.pixel_criterion]
    terms: dict[str, Tensor] = {}
    for stage_weight, x in zip(recipe.stage_weights or [1.0] * len(stages), stages, strict=True):
        if not stage_weight:
            continue
        differences = {"": (stage_weight, difference(x.float(), batch))}
        if recipe.reblur_weight:
            # Near the border this differs from the input if the patch was blurred with real pixels beyond it.
            H = Blur(batch.kernel, x.shape[-2:], border="replicate")
            differences["reblur_"] = stage_weight * recipe.reblur_weight, H(x.float()) + batch.noise - batch.blurry
        for prefix, (weight, values) in differences.items():
            if recipe.pixel_weight:
                name = f"{prefix}{recipe.pixel_criterion}"
                terms[name] = terms.get(name, 0) + weight * recipe.pixel_weight * pixel(values)
            if recipe.fft_weight:
                name = f"{prefix}fft"
                terms[name] = terms.get(name, 0) + weight * recipe.fft_weight * torch.fft.rfft2(values).abs().mean()
    loss = sum(terms.values(), start=torch.zeros((), device=batch.sharp.device))
    return loss, {name: term.detach() for name, term in terms.items()}
