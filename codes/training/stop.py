"""Ctrl-C and SIGTERM during training: noted, so that it stops between two steps and saves a checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """The number of the signal that asks this process to stop; 0 so far."""

    signal: int = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block, SIGINT and SIGTERM are noted instead of ending the process."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield request
        return

    def note(number: int, _: object) -> None:
        request.signal = number

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_group(_: int) -> None:
    """For data workers: signals to the process group, such as Ctrl-C, are then left to the main process."""
    os.setpgrp()
