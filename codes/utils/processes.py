"""One process, or several under torchrun that share the work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from codes.utils.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process and its place in the group of processes."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, items: list[T]) -> list[T]:
        """This process's part of the items: every world_size-th one, beginning with number `rank`."""
        return items[self.rank :: self.world_size]

    def all_of(self, value: T) -> list[T]:
        """The values of all processes, in every process. Raises UserError if a process has ended."""
        values = [value] * self.world_size
        if self.world_size > 1:
            with _others_alive():
                dist.all_gather_object(values, value)
        return values

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes in the main process; [] in the others."""
        gathered = self.all_of(items)
        return [item for part in gathered for item in part] if self.is_main else []

    def agree(self, value: object) -> bool:
        """True if `value` is the same in all processes."""
        return all(other == value for other in self.all_of(value))

    def largest(self, value: int) -> int:
        """The largest `value` of all processes."""
        if self.world_size == 1:
            return value
        # One small tensor: this runs after every training step.
        largest = torch.tensor(value)
        with _others_alive():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def barrier(self) -> None:
        """Wait until all processes have reached this point."""
        self.all_of(None)


@contextmanager
def _others_alive() -> Iterator[None]:
    """Raise UserError if a process of the group has ended, which breaks the connection to it."""
    try:
        yield
    except RuntimeError:  # the process that ended has printed why
        raise UserError("another process of the group ended early; see its message") from None


@contextmanager
def processes(devices: bool = False) -> Iterator[Processes]:
    """The group that torchrun's environment variables describe, or this process alone.

    devices: True if the processes exchange tensors on GPUs (nccl).
    """
    world_size = int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1
    if world_size == 1:
        yield Processes()
        return
    # Testing exchanges no tensors on GPUs. The timeout is long because processes wait for slow images.
    backend = "cpu:gloo,cuda:nccl" if devices and torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=7))
    try:
        yield Processes(dist.get_rank(), world_size, int(os.environ.get("LOCAL_RANK", 0)))
    finally:
        dist.destroy_process_group()
