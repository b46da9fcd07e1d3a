"""Ctrl-C and SIGTERM stop a training between two steps, so that it can save a checkpoint."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """The number of the signal that asks this process to stop; 0 so far."""

    signal: int = 0


@contextmanager
def stop_requests(show: bool = True) -> Iterator[StopRequest]:
    """Within the block, SIGINT and SIGTERM are recorded in the StopRequest instead of ending the process.

    show: print a line at the first signal.
    """
    request = StopRequest()

    def note(number: int, _: object) -> None:
        if show and not request.signal:
            with suppress(OSError):
                os.write(1, b"stopping after this step ...\n")  # print() may be what the signal interrupted
        request.signal = number

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_group(_: int) -> None:
    """Start a data worker in a process group of its own, so that Ctrl-C reaches the main process only."""
    os.setpgrp()
