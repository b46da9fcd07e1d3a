"""Devices: from options and command-line arguments to a torch.device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from codes.utils.errors import UserError, warn


def choose_device(gpu_ids: list[int] | Literal["auto"], local_rank: int = 0) -> torch.device:
    """Choose the device of process `local_rank` for the option `gpu_ids`.

    `auto`: all available GPUs, one for each process in turn, else the CPU, without a warning. []: the CPU. A list of
    numbers: these GPUs in turn, without those that this process does not see (SLURM may show each process one GPU,
    with the number 0). If none of them is there, there is one warning and the CPU is used.
    """
    count = torch.cuda.device_count()
    visible = list(range(count)) if gpu_ids == "auto" else [gpu for gpu in gpu_ids if gpu < count]
    if visible:
        return torch.device("cuda", visible[local_rank % len(visible)])
    if gpu_ids and gpu_ids != "auto" and local_rank == 0:
        warn(f"gpu_ids: this machine has no GPU {gpu_ids[0]}; running on the CPU")
    return torch.device("cpu")


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within the block, allow or forbid TF32 for float32 convolutions and products on a GPU.

    TF32 has 10 bits after the binary point. cuDNN uses it by default, which loses G(y) - G(Hx), a difference as small
    as the noise.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def available_device(name: str) -> torch.device:
    """The device called `auto` (as `choose_device`), `cpu`, `cuda` or `cuda:N`. Raises UserError for others."""
    if name == "auto":
        return choose_device("auto")
    try:
        device = torch.device(name) if name else None
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise UserError(f"device {name or repr(name)}: auto, cpu, cuda or cuda:N is expected")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
