"""Peak memory of a piece of work."""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")
_MEBI = 2**20


@dataclass
class Peak:
    """MiB, and MiB at the block's start; None where the system does not tell (a CPU under anything but Linux)."""

    mib: float | None = None
    start: float | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the block: on a GPU the most memory that tensors held, on a CPU the process's largest resident set."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        peak.start = torch.cuda.memory_allocated(device) / _MEBI
        yield peak
        peak.mib = torch.cuda.max_memory_allocated(device) / _MEBI
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier work freed is not this block's
    known = _reset()
    peak.start = _largest_resident_set() if known else None
    yield peak
    peak.mib = _largest_resident_set() if known else None


def _reset() -> bool:
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _largest_resident_set() -> float | None:
    match = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    return int(match[1]) / 1024 if match else None
