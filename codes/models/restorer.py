"""The restorer: a network with its weights on a device, numpy in and numpy out."""

import time
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from codes.models.network import Network
from codes.utils.errors import UserError, warn
from codes.utils.memory import peak_memory


class Restored(NamedTuple):
    """A restored image float32 (H, W, C), not clamped, the seconds that it took, and the peak memory in MiB."""

    image: np.ndarray
    seconds: float
    memory: float | None


def choose_device(gpu_ids: list[int] | Literal["auto"], local_rank: int = 0) -> torch.device:
    """Choose the device of process `local_rank` for the option `gpu_ids`.

    `auto`: all GPUs that are there, one for each process in turn, else the CPU, without a warning. []: the CPU.
    A list of numbers: these GPUs in turn. If a listed GPU is missing, there is one warning and the CPU is used.
    """
    if gpu_ids == "auto":
        gpu_ids = list(range(torch.cuda.device_count()))
    if not gpu_ids:
        return torch.device("cpu")
    gpu = gpu_ids[local_rank % len(gpu_ids)]
    if gpu < torch.cuda.device_count():
        return torch.device("cuda", gpu)
    if local_rank == 0 or gpu_ids[0] < torch.cuda.device_count():
        warn(f"gpu_ids: this machine has no GPU {gpu}; running on the CPU")
    return torch.device("cpu")


Precision = Literal["float32", "bfloat16", "float16"]


class Restorer:
    """Restores single images with a network in eval mode.

    precision: of most convolutions. In half precision the image, the filters F, G and the blur
    stay in float32. Raises UserError for float16 on a CPU.
    """

    def __init__(self, network: Network, device: torch.device | str = "cpu", precision: Precision = "float32"):
        self.device = torch.device(device)
        if precision == "float16" and self.device.type == "cpu":
            raise UserError("precision float16 is for GPUs; on a CPU take bfloat16")
        self.network = network.to(device).eval()
        self.dtype = getattr(torch, precision)
        if self.device.type == "cpu":
            # Its convolutions are fastest so, and need no copies in their own layout.
            self.network = self.network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def restore(self, blurry: np.ndarray, kernel: np.ndarray, noise_sigma: float | None = None) -> Restored:
        """Restore one image.

        blurry: (H, W, C) in [0, 1]. For a network of three channels grey (C = 1) is repeated, and
        the mean of the restored channels returned; a network of one channel (in_nc: 1) gets
        each channel as an image of its own. kernel: (h, w), sum 1, or (h, w, 3). noise_sigma: told to
        classical methods.
        """
        y, k = (tensor.to(self.device) for tensor in as_batch(self.network, blurry, kernel))
        y = y.contiguous(memory_format=torch.channels_last if self.device.type == "cpu" else torch.contiguous_format)
        known = noise_sigma is not None and self.network.told_sigma
        sigma = y.new_full((len(y),), noise_sigma, dtype=torch.float64) if known else None
        arguments = self.network.accepted(sigma=sigma)
        self._finish()
        with peak_memory(self.device) as peak:
            start = time.perf_counter()
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                x = self.network(y, k, **arguments)
            self._finish()
            seconds = time.perf_counter() - start
        return Restored(as_image(x, blurry.shape[2]), seconds, peak.mib)

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def as_batch(network: Network, image: np.ndarray, kernel: np.ndarray) -> tuple[Tensor, Tensor]:
    """An image (H, W, C) and its kernel (h, w) or (h, w, 3) as `network` takes them, float32.

    Grey is repeated for a network of three channels; a network of one gets a batch of C images.
    """
    channels = image.shape[2]
    in_nc = network.in_nc or channels
    y, k = (torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for array in (image, kernel))
    y = y.permute(2, 0, 1)
    if k.dim() == 2:
        k = k.expand(channels if in_nc == 1 else 1, -1, -1)
    else:
        k = k.permute(2, 0, 1) if in_nc == 1 else k.permute(2, 0, 1)[None]
    return (y[:, None] if in_nc == 1 else y.expand(in_nc, -1, -1)[None]), k


def as_image(x: Tensor, channels: int) -> np.ndarray:
    """What a network gives for `as_batch` of an image of so many channels: (H, W, channels) float32."""
    image = x.flatten(0, 1).permute(1, 2, 0).float().cpu().numpy()
    return image.mean(2, keepdims=True) if channels == 1 else image
