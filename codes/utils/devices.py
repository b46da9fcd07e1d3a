"""Devices: from options and command-line arguments to a torch.device."""

from typing import Literal

import torch

from codes.utils.errors import UserError, warn


def choose_device(gpu_ids: list[int] | Literal["auto"], local_rank: int = 0) -> torch.device:
    """Choose the device of process `local_rank` for the option `gpu_ids`.

    `auto`: all available GPUs, one for each process in turn, else the CPU, without a warning. []: the CPU. A list of
    numbers: these GPUs in turn. If a listed GPU is missing, there is one warning and the CPU is used.
    """
    count = torch.cuda.device_count()
    if gpu_ids == "auto":
        gpu_ids = list(range(count))
    if not gpu_ids:
        return torch.device("cpu")
    gpu = gpu_ids[local_rank % len(gpu_ids)]
    if gpu < count:
        return torch.device("cuda", gpu)
    if local_rank == 0 or gpu_ids[0] < count:
        warn(f"gpu_ids: this machine has no GPU {gpu}; running on the CPU")
    return torch.device("cpu")


def available_device(name: str) -> torch.device:
    """The device called `auto` (as `choose_device`), `cpu`, `cuda` or `cuda:N`. Raises UserError for others."""
    if name == "auto":
        return choose_device("auto")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise UserError(f"device {name}: auto, cpu, cuda or cuda:N is expected")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
