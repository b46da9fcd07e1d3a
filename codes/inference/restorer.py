"""Restorer: a network on a device restores images, whole or in tiles; numpy arrays in and out."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from codes.inference.batch import as_batch, as_image, dihedral, dihedral_inverse
from codes.inference.gaps import fill_gaps
from codes.inference.tiling import MULTIPLE, Tile, blend, plan, smallest_side, tile_overlap
from codes.models.network import Network
from codes.models.noise import estimate_noise
from codes.models.paper.blur import Blur, odd_sized
from codes.utils.devices import tf32
from codes.utils.errors import UserError, explain_pytorch
from codes.utils.memory import budget, peak_memory, used
from codes.utils.progress import Progress

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
PRECISIONS = get_args(Precision)

# The memory that x0 of the whole image needs while it is computed, in bytes per pixel of three channels.
X0_BYTES = 250
# The memory that the whole image (its values, x0 and the result) needs while tiles are restored, in bytes per pixel.
_HELD_BYTES = 80
# The memory that the image of each further stage needs if all stages are kept, in bytes per pixel.
_STAGE_BYTES = 12
# Larger tiles save hardly any time.
_LARGEST_SIDE = 2048
# Number of flips and rotations of a self-ensemble.
_TURNS = 8


class Restored(NamedTuple):
    """A restored image, and the seconds and the peak memory (MiB) of the restoration.

    image: float32 (H, W, C), not clamped. memory: None if the system does not report it. stages: x0 and the image of
    every stage; empty unless `stages=True`.
    """

    image: np.ndarray
    seconds: float
    memory: float | None
    stages: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class _Task:
    """An image to restore, as a batch on the CPU.

    blurry: (B, C, H, W). kernel: (B, h, w) or (B, C, h, w) with odd sides; B may be 1. mask: (1, 1, H, W) or None.
    sigma: (B,), standard deviation of the noise, or None. stages: keep the images of all stages.
    """

    blurry: Tensor
    kernel: Tensor
    mask: Tensor | None
    sigma: Tensor | None
    stages: bool

    @property
    def pixels(self) -> float:
        """Number of pixels, counted as if they had three channels."""
        return self.blurry.numel() / 3

    def changed(self, change: Callable[[Tensor], Tensor], **others: Tensor) -> "_Task":
        """The task with `change` applied to image and mask, and with other parts replaced."""
        mask = None if self.mask is None else change(self.mask)
        return replace(self, **{"blurry": change(self.blurry), "mask": mask, **others})


class Restorer:
    """Restores single images with a network.

    Args:
        network: It is moved to the device and set to eval mode.
        device: cpu, cuda or cuda:N.
        precision: Type of most convolutions; x0, Fourier transforms and the filters F, G stay in float32. float16 and
            tf32 (float32 with all convolutions in TF32) work on GPUs only.
        tile: `off` for the whole image at once, the side of square tiles in pixels, or `auto` for tiles if memory is
            short.
        gigabytes: Limit for the memory of this process (on a GPU: for its memory there), for `auto`; None: what is
            free.
        ensemble: Mean over the eight flips and rotations of the image, which takes 8 times as long.
        progress: Show the progress over the tiles.

    Raises:
        UserError: Other values.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        *,
        tile: int | Literal["auto", "off"] = "off",
        gigabytes: float | None = None,
        ensemble: bool = False,
        progress: bool = False,
    ):
        self.device = torch.device(device)
        check_settings(self.device, precision, tile, gigabytes)
        self.tf32 = precision == "tf32"
        self.dtype = torch.float32 if self.tf32 else getattr(torch, precision)
        self.tile, self.gigabytes, self.ensemble, self.progress = tile, gigabytes, ensemble, progress
        # On a CPU, convolutions are fastest with the channels last in memory.
        self.layout = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        self.network = network.to(self.device, memory_format=self.layout).eval()
        self._used_at_start = used(self.device)

    @property
    def stages(self) -> int:
        """Number of stages whose images the network gives."""
        return self.network.n_iter if self.network.gives_stages else 1

    @torch.inference_mode()
    def restore(
        self,
        blurry: np.ndarray,
        kernel: np.ndarray,
        noise_sigma: float | None = None,
        *,
        sigma: float | None = None,
        mask: np.ndarray | None = None,
        stages: bool = False,
    ) -> Restored:
        """Restore one image.

        Args:
            blurry: (H, W, C) in [0, 1]. For a network of three channels a grey image (C = 1) is repeated, and the mean
                of the restored channels is returned; a network of one channel gets each channel as an image.
            kernel: (h, w) or (h, w, 3), sum 1 (of each channel), applied as a cross-correlation.
            noise_sigma: Standard deviation of the noise, used by networks with `uses_true_sigma`.
            sigma: A noise level for every network that takes one, in place of `noise_sigma` and of its own estimate.
            mask: (H, W), 1 at valid pixels, 0 at pixels to leave out.
            stages: Also return x0 and the image of every stage.

        Raises:
            UserError: There is not enough memory, tiles are too small for the kernel, or the network does not use
                masks.
        """
        if mask is not None and not self.network.takes_mask:
            raise UserError(f"mask: this {type(self.network).__name__} does not use masks")
        y, k = as_batch(self.network, blurry, kernel)
        m = None if mask is None else torch.from_numpy(mask).float()[None, None]
        level = noise_sigma if sigma is None and self.network.uses_true_sigma else sigma
        levels = None if level is None else torch.full((len(y),), level, dtype=torch.float64)
        task = _Task(y, odd_sized(k), m, levels, stages)
        self._synchronise()
        try:
            with peak_memory(self.device) as peak, Progress(unit="tiles", show=self.progress) as progress:
                start = time.perf_counter()
                images = self._restore_ensemble(task, progress) if self.ensemble else self._tiled(task, progress)
                self._synchronise()
                seconds = time.perf_counter() - start
        except (MemoryError, RuntimeError) as error:
            raise explain_pytorch(error) or error from None
        restored = [as_image(x, blurry.shape[2]) for x in images]
        return Restored(restored[-1], seconds, peak.mib, restored if stages else ())

    def _synchronise(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _restore_ensemble(self, task: _Task, progress: Progress) -> Sequence[Tensor]:
        """The images of a task, averaged over all flips and rotations."""
        mean: list[Tensor] = []
        for number in range(_TURNS):
            flipped = task.changed(partial(dihedral, number=number), kernel=dihedral(task.kernel, number))
            parts = [dihedral_inverse(part, number) / _TURNS for part in self._tiled(flipped, progress, _TURNS)]
            mean = [one.add_(other) for one, other in zip(mean, parts, strict=True)] if mean else parts
        return mean

    def _tiled(self, task: _Task, progress: Progress, passes: int = 1) -> Sequence[Tensor]:
        """The images of a task, restored whole or in tiles. passes: number of such calls, for the progress."""
        size = task.blurry.shape[-2:]
        side, x0_fits = self._side(task)
        tiles = plan(size, side, tile_overlap(task.kernel))
        progress.total = passes * len(tiles)
        if len(tiles) == 1:
            images = self._network_images(task, None)
            progress.update()
            return images
        if task.sigma is None and self.network.takes_sigma:
            task = replace(task, sigma=estimate_noise(task.blurry, task.mask))
        x0 = Hx0 = None
        if x0_fits and self.network.takes_x0:
            fits = X0_BYTES * task.pixels <= budget(self.device, self.gigabytes)
            device = self.device if fits else torch.device("cpu")
            y = task.blurry if task.mask is None else fill_gaps(task.blurry, task.mask)
            x0 = self.network.initial(y.to(device), task.kernel.to(device)).cpu()
            Hx0 = Blur(task.kernel, size, border=self.network.padding_mode)(x0)

        def restore(tile: Tile) -> list[Tensor]:
            part, start = task.changed(tile.of), None
            if x0 is not None:
                # The tile's own H does not see beyond the tile's border, so the missing part of H x0 is added.
                start = tile.of(x0)
                H = Blur(task.kernel, start.shape[-2:], border=self.network.padding_mode)
                part = replace(part, blurry=part.blurry + H(start) - tile.of(Hx0))
            images = self._network_images(part, start)
            progress.update()
            return images

        return blend(restore, tiles, size)

    def _network_images(self, task: _Task, x0: Tensor | None) -> list[Tensor]:
        """The restored image, or x0 and the images of all stages. x0: the start, or None for the network's own."""
        network, filled_image = self.network, None
        if x0 is None and task.mask is not None:
            filled_image = fill_gaps(task.blurry, task.mask)
        tensors = (task.blurry, task.kernel, task.mask, task.sigma, x0, filled_image)
        y, k, mask, sigma, x0, filled_image = (None if t is None else t.to(self.device) for t in tensors)
        y = y.contiguous(memory_format=self.layout)
        half = self.dtype != torch.float32
        with tf32(self.tf32), torch.autocast(self.device.type, self.dtype, enabled=half):
            if x0 is None and (task.stages or filled_image is not None):
                x0 = network.initial(y if filled_image is None else filled_image, k)
            if task.stages:
                return [x0, *network.images(y, k, mask=mask, sigma=sigma, x0=x0)]
            return [network(y, k, **network.accepted(mask=mask, sigma=sigma, x0=x0))]

    def _side(self, task: _Task) -> tuple[int, bool]:
        """Side of the tiles (at least the image's for a single tile), and whether x0 of the whole image fits in memory.

        Raises UserError if a chosen side is too small for the kernel or the memory limit cannot be kept.
        """
        height, width = task.blurry.shape[-2:]
        least = smallest_side(tile_overlap(task.kernel))
        whole = max(math.ceil(max(height, width) / MULTIPLE) * MULTIPLE, least)
        if self.tile == "off":
            return whole, True
        held = task.pixels * (_HELD_BYTES + (_STAGE_BYTES * self.stages if task.stages else 0))
        # The limit is one for the device: on a GPU, what the process itself occupies does not count.
        free = budget(torch.device("cpu"), self.gigabytes if self.device.type == "cpu" else None) - held
        x0_fits = X0_BYTES * task.pixels <= free
        if self.tile != "auto":
            side = self.tile // MULTIPLE * MULTIPLE
            if side < least and side < max(height, width):
                raise UserError(f"tile {self.tile}: this kernel needs tiles of at least {least} pixels")
            return max(side, least), x0_fits
        if self.device.type != "cpu":
            free = budget(self.device, self.gigabytes)
        fitting = free / self.network.bytes_per_pixel
        if task.pixels <= fitting and x0_fits:
            return whole, True
        # A batch of single channels has several images per pixel.
        images = task.pixels / (height * width)
        self._check_limit(images * min(least, height) * min(least, width), held)
        side = min(math.isqrt(max(0, int(fitting / images))), _LARGEST_SIDE)
        return max(side // MULTIPLE * MULTIPLE, least), x0_fits

    def _check_limit(self, smallest: float, held: float) -> None:
        """Raise UserError if the smallest tile (pixels) and the `held` bytes together need more than the limit."""
        held_here = self._used_at_start + (held if self.device.type == "cpu" else 0)
        needed = (held_here + self.network.bytes_per_pixel * smallest) / 1e9
        if self.gigabytes is not None and self.gigabytes < needed:
            enough = math.ceil(10 * needed) / 10
            raise UserError(
                f"memory {self.gigabytes:g} GB: this image and kernel need {enough:.1f} GB even in the smallest tiles; "
                f"allow that much or cut the image"
            )


def check_settings(device: torch.device, precision: object, tile: object, gigabytes: object) -> None:
    """Raise UserError for impossible settings of a Restorer."""
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r}: possible are {', '.join(PRECISIONS)}")
    if precision in ("float16", "tf32") and device.type == "cpu":
        raise UserError(f"precision {precision} is for GPUs; use bfloat16 on a CPU")
    if tile not in ("auto", "off") and not (isinstance(tile, Integral) and tile >= 1):
        raise UserError(f"tile {tile!r}: possible are auto, off and a whole number of pixels")
    if gigabytes is not None and not (isinstance(gigabytes, Real) and 0 < gigabytes < math.inf):
        raise UserError(f"memory {gigabytes!r}: a number of gigabytes above 0, or None, is needed")
