"""How much memory there is, and how much a network takes: codes/scripts/measure_tiling.py measured it."""

import math
from pathlib import Path

import psutil
import torch
from torch import nn

SPARE = 0.8
"""Share of the free memory that is planned with."""
X0_BYTES = 250
"""A pixel, for x0 of an image of three channels at once."""
_HELD_BYTES = 80
"""A pixel of the whole image: its values, x0 and the result, while tiles are restored."""
_STAGE_BYTES = 12
"""A pixel of every further image of three channels in float32."""
_BASE_BYTES, _BYTES_PER_FILTER = 400, 95
"""A pixel, for the network: a part of its own and one for each of its filters."""


def budget(device: torch.device, gigabytes: float | None = None) -> float:
    """Bytes to plan with: most of what is free on the device, and no more than this process may have of `gigabytes`."""
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else min([psutil.virtual_memory().available, *_container()])
    allowed = math.inf if gigabytes is None else gigabytes * 1e9 - taken(device)
    return max(0.0, min(SPARE * free, allowed))


def taken(device: torch.device) -> int:
    """Bytes of the device's memory that this process has already."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def network_bytes(network: nn.Module) -> int:
    """Bytes a pixel that DSDNet or DSDNet+ takes beyond its input and result."""
    filters = network.F[0].out_channels + network.G[0].out_channels
    return _BASE_BYTES + _BYTES_PER_FILTER * filters


def held_bytes(network: nn.Module, every: bool) -> int:
    """Bytes a pixel of the whole image that are held while its tiles are restored; `every`: with all stages' images."""
    return _HELD_BYTES + (_STAGE_BYTES * network.n_iter if every else 0)


def _container() -> list[int]:
    """Bytes that the limit of a control group, such as a container's, leaves; [] where there is none."""
    group = Path("/sys/fs/cgroup")
    try:
        return [int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())]
    except (OSError, ValueError):
        return []
