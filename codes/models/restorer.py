"""The restorer: a network with its weights on a device, numpy in and numpy out."""

import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from codes.models.archs.classical import ClassicalMethod
from codes.utils.errors import warn


class Restored(NamedTuple):
    """A restored image float32 (H, W, C), not clamped, and the seconds that it took."""

    image: np.ndarray
    seconds: float


def choose_device(gpu_ids: list[int], local_rank: int = 0) -> torch.device:
    """The device for `gpu_ids`: [] is the CPU; process `local_rank` takes one GPU of the list in turn.

    A GPU that is asked for and not there gives one warning and the CPU.
    """
    if not gpu_ids:
        return torch.device("cpu")
    gpu = gpu_ids[local_rank % len(gpu_ids)]
    if gpu < torch.cuda.device_count():
        return torch.device("cuda", gpu)
    if local_rank == 0:
        warn(f"gpu_ids asks for GPU {gpu}, which is not there; running on the CPU")
    return torch.device("cpu")


class Restorer:
    """Restores single images with a network in eval mode."""

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu"):
        self.network = network.to(device).eval()
        self.device = torch.device(device)

    @torch.inference_mode()
    def restore(self, blurry: np.ndarray, kernel: np.ndarray, noise_sigma: float | None = None) -> Restored:
        """Restore one image.

        blurry: (H, W, C) in [0, 1]; grey (C = 1) is repeated to three channels, and the mean of
        the restored ones returned. kernel: (h, w), sum 1. noise_sigma: told to classical methods.
        """
        grey = blurry.shape[2] == 1
        y = self._tensor(np.repeat(blurry, 3, 2) if grey else blurry).permute(2, 0, 1)[None]
        k = self._tensor(kernel)[None]
        arguments = {"noise_sigma": noise_sigma} if isinstance(self.network, ClassicalMethod) else {}
        self._finish()
        start = time.perf_counter()
        x = self.network(y, k, **arguments)
        self._finish()
        seconds = time.perf_counter() - start
        image = x[0].permute(1, 2, 0).float().cpu().numpy()
        return Restored(image.mean(2, keepdims=True) if grey else image, seconds)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
