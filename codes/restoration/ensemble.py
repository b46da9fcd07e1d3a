"""Self-ensemble: the mean over the eight flips and turns of an image, its kernel turned along."""

from collections.abc import Callable, Sequence

from torch import Tensor

TRANSFORMS = 8


def turned(image: Tensor, number: int) -> Tensor:
    """Transform `number` (0 to 7; 0: none) of images or kernels (..., H, W)."""
    image = image.flip(-1) if number >= 4 else image
    return image.rot90(number % 4, (-2, -1))


def turned_back(image: Tensor, number: int) -> Tensor:
    """The inverse of `turned`."""
    image = image.rot90(-(number % 4), (-2, -1))
    return image.flip(-1) if number >= 4 else image


def averaged(
    restore: Callable[..., Sequence[Tensor]], blurry: Tensor, kernel: Tensor, mask: Tensor | None = None
) -> list[Tensor]:
    """Mean over the transforms of `restore(blurry, kernel, mask)`, a list of images (B, C, H, W).

    kernel: (..., h, w) of odd sides, whose centre the transforms keep.
    """
    mean: list[Tensor] = []
    for number in range(TRANSFORMS):
        parts = restore(*(None if part is None else turned(part, number) for part in (blurry, kernel, mask)))
        parts = [turned_back(part, number) / TRANSFORMS for part in parts]
        mean = [one.add_(other) for one, other in zip(mean, parts, strict=True)] if mean else parts
    return mean
