"""Memory of the machine: how much is free to plan with, and the peak of a piece of work."""

import ctypes
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

# Fraction of the free memory that is planned with.
_SHARE = 0.8
_PROCESS = Path("/proc/self")
_CGROUP = Path("/sys/fs/cgroup")
_MEBI = 2**20


def budget(device: torch.device, gigabytes: float | None = None) -> float:
    """Bytes of the device's memory to plan with: most of what is free, within this process's limit of `gigabytes`."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + cached
    else:
        free = psutil.virtual_memory().available
        with suppress(OSError, ValueError):  # the memory limit of a container (control group), if there is one
            limit, current = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
            free = min(free, int(limit) - int(current))
    allowed = math.inf if gigabytes is None else gigabytes * 1e9 - used(device)
    return max(0.0, min(_SHARE * free, allowed))


def used(device: torch.device) -> int:
    """Bytes of the device's memory that this process uses now."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


@dataclass
class Peak:
    """Peak memory in MiB, and memory at the start of the block; None if unknown (a CPU outside Linux)."""

    mib: float | None = None
    start: float | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure a block: on a GPU the peak memory of tensors, on a CPU the peak resident set of the process."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        peak.start = torch.cuda.memory_allocated(device) / _MEBI
        yield peak
        peak.mib = torch.cuda.max_memory_allocated(device) / _MEBI
        return
    with suppress(OSError, AttributeError, TypeError):  # other systems than Linux
        ctypes.CDLL(None).malloc_trim(0)  # memory freed by earlier work does not count
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")  # start a new measurement
        peak.start = _largest_resident_set()
    yield peak
    if peak.start is not None:
        peak.mib = _largest_resident_set()


def _largest_resident_set() -> float | None:
    """Peak resident set in MiB since the last reset."""
    match = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    return int(match[1]) / 1024 if match else None
