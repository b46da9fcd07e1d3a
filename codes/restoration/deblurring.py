"""Restoring one image with a trained network: tiles, self-ensemble, precision, masks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from codes.data.masks import filled
from codes.models.paper.blur import Blur, odd_sized
from codes.models.restorer import as_batch, as_image
from codes.models.tiny.noise import estimate_noise
from codes.restoration.ensemble import TRANSFORMS, averaged
from codes.restoration.memory import X0_BYTES, budget, held_bytes, network_bytes, taken
from codes.restoration.tiling import MULTIPLE, Tile, blended, plan, smallest_side
from codes.utils.errors import UserError

PRECISIONS = ("float32", "bfloat16")
LARGEST_SIDE = 2048
"""Of a tile; larger ones save hardly any time."""


@dataclass(frozen=True)
class Settings:
    """How to restore.

    precision: of the network's convolutions; Fourier transforms are float32 always. tile: side of
    the tiles in pixels, `auto` to choose it by the memory, `off` for the whole image at once.
    ensemble: mean over the eight flips and turns. gigabytes: what this process may have of the device's
    memory, for `auto`; None: what is free. Raises UserError for other values.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    tile: int | Literal["auto", "off"] = "auto"
    ensemble: bool = False
    gigabytes: float | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"precision {self.precision!r}: {' or '.join(PRECISIONS)} is possible")
        if self.tile not in ("auto", "off") and not (isinstance(self.tile, Integral) and self.tile >= 1):
            raise UserError(f"tile {self.tile!r}: auto, off or a whole number of pixels is possible")
        if self.gigabytes is not None and not (isinstance(self.gigabytes, Real) and 0 < self.gigabytes < math.inf):
            raise UserError(f"gigabytes {self.gigabytes!r}: a number above 0, or None, is possible")


class Deblurrer:
    """Restores images with a DSDNet or DSDNet+ on a device; `progress` shows a bar over the tiles."""

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | str = "cpu",
        settings: Settings = Settings(),
        progress: bool = False,
    ):
        self.device, self.settings, self.progress = torch.device(device), settings, progress
        self.network = network.to(self.device).eval()
        self._before = taken(self.device)  # later on what was given back may count still

    @torch.inference_mode()
    def stages(
        self, blurry: np.ndarray, kernel: np.ndarray, mask: np.ndarray | None = None, every: bool = True
    ) -> list[np.ndarray]:
        """x0 and every stage's image, or only the last one, the result; float32 (H, W, C), not clamped.

        blurry: (H, W, C), C = 1 or 3, from 0 to 1. kernel: (h, w) or (h, w, 3), sum 1 (of each
        channel), cross-correlated. mask: (H, W), 1 at valid pixels, 0 at those to leave out.
        Raises UserError where the memory doesn't suffice, that which is allowed can't be kept to, the
        tiles are too small for the kernel, or the network takes no mask.
        """
        if mask is not None and not self.network.takes_mask:
            raise UserError(f"mask: the x-step of this {type(self.network).__name__} takes none")
        y, k = as_batch(self.network, blurry, kernel)
        m = None if mask is None else torch.from_numpy(mask).float()[None, None]
        try:
            with tqdm(unit=" tiles", leave=False, disable=None if self.progress else True) as bar:
                images = self._averaged(y, odd_sized(k), m, every, bar)
        except (MemoryError, torch.OutOfMemoryError):
            raise UserError(_TOO_LITTLE) from None
        except RuntimeError as error:
            if "alloc" in str(error):  # how torch says it on a CPU
                raise UserError(_TOO_LITTLE) from None
            raise
        return [as_image(x, blurry.shape[2]) for x in images]

    def _averaged(self, y: Tensor, k: Tensor, m: Tensor | None, every: bool, bar: tqdm) -> Sequence[Tensor]:
        passes = TRANSFORMS if self.settings.ensemble else 1

        def tiled(y: Tensor, k: Tensor, m: Tensor | None) -> Sequence[Tensor]:
            return self._tiled(y, k, m, every, bar, passes)

        return averaged(tiled, y, k, m) if self.settings.ensemble else tiled(y, k, m)

    def _tiled(self, y: Tensor, k: Tensor, m: Tensor | None, every: bool, bar: tqdm, passes: int) -> Sequence[Tensor]:
        """The stages' images of a batch (B, C, H, W) on the CPU, tile by tile."""
        size = (y.shape[-2], y.shape[-1])
        side, at_once = self._layout(y, k, held_bytes(self.network, every) * _pixels(y))
        tiles = plan(size, side, overlap_of(k))
        bar.total = passes * len(tiles)
        sigma = estimate_noise(y, m) if self.network.solver.takes_sigma else None
        x0 = Hx0 = None
        if at_once:
            x0 = self._initial(y, k, m)
            Hx0 = Blur(k, size, border=self.network.padding_mode)(x0) if len(tiles) > 1 else None

        def restore(tile: Tile) -> Sequence[Tensor]:
            part, mask = tile.of(y), None if m is None else tile.of(m)
            start = self._initial(part, k, mask) if x0 is None else tile.of(x0)
            if Hx0 is not None:
                # The tile's own H doesn't see beyond its border; what it misses of H x0 is made up for.
                H = Blur(k, part.shape[-2:], border=self.network.padding_mode)
                part = part + H(start) - tile.of(Hx0)
            images = self._network(part, k, mask, start, sigma, every)
            bar.update()
            return [start, *images] if every else images

        return blended(restore, tiles, size)

    def _network(
        self, y: Tensor, k: Tensor, m: Tensor | None, x0: Tensor, sigma: Tensor | None, every: bool
    ) -> list[Tensor]:
        y, k, x0 = (tensor.to(self.device) for tensor in (y, k, x0))
        m, sigma = (None if tensor is None else tensor.to(self.device) for tensor in (m, sigma))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            images = self.network(y, k, m, stages=every, x0=x0, sigma=sigma)
        return images if every else [images]

    def _initial(self, y: Tensor, k: Tensor, m: Tensor | None) -> Tensor:
        """x0 (B, C, H, W) on the CPU; computed on the device where it fits."""
        y = y if m is None else filled(y, m)
        fits = X0_BYTES * _pixels(y) <= budget(self.device, self.settings.gigabytes)
        device = self.device if fits else torch.device("cpu")
        return self.network.initial(y.to(device), k.to(device)).cpu()

    def _layout(self, y: Tensor, k: Tensor, held: float) -> tuple[int, bool]:
        """Side of the tiles, at least the image's for all of it, and whether x0 is computed of the whole image.

        held: bytes of memory that the whole image takes all the while.
        """
        whole = math.ceil(max(y.shape[-2:]) / MULTIPLE) * MULTIPLE
        least, pixels = smallest_side(overlap_of(k)), _pixels(y)
        if self.settings.tile == "off":
            return max(whole, least), True
        room = budget(torch.device("cpu"), self.settings.gigabytes) - held
        at_once = X0_BYTES * pixels <= room
        if self.settings.tile != "auto":
            side = self.settings.tile // MULTIPLE * MULTIPLE
            if side < min(least, whole):
                raise UserError(f"tile {self.settings.tile}: this kernel needs tiles of at least {least} pixels")
            return max(side, least), at_once
        if self.device.type != "cpu":
            room = budget(self.device, self.settings.gigabytes)
        fitting = room / network_bytes(self.network)
        if pixels <= fitting and at_once:
            return max(whole, least), True
        # In a batch of single channels every image takes its share.
        share = pixels / (y.shape[-1] * y.shape[-2])
        self._check_limit(share * min(least, y.shape[-2]) * min(least, y.shape[-1]), held)
        side = math.isqrt(max(0, int(fitting / share)))
        return max(min(side, LARGEST_SIDE) // MULTIPLE * MULTIPLE, least), at_once

    def _check_limit(self, tile: float, held: float) -> None:
        """Raise UserError where a tile of so many pixels, with what is held beside, takes more than is allowed."""
        limit = self.settings.gigabytes
        beside = self._before + (held if self.device.type == "cpu" else 0)
        needed = (beside + network_bytes(self.network) * tile) / 1e9
        if limit is not None and limit < needed:
            enough = math.ceil(10 * needed) / 10
            raise UserError(
                f"memory {limit:g} GB: this image and kernel need {enough:.1f} GB even in the smallest tiles; allow "
                f"that (--memory {enough:.1f}) or cut the image"
            )


_TOO_LITTLE = "the memory does not suffice; choose smaller tiles (--tile) or free some"


def overlap_of(kernel: Tensor) -> int:
    """Pixels by which tiles have to overlap for a kernel (..., h, w); measured by codes/scripts/measure_tiling.py."""
    return 48 + 4 * (max(kernel.shape[-2:]) - 1)


def _pixels(y: Tensor) -> float:
    """Pixels of a batch, as an image of three channels."""
    return y.numel() / 3
