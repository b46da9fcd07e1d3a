"""Progress of long work: a bar on a terminal, a line for every 10 percent in a file."""

import sys
import time
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Counts pieces of work on stderr; `total` may be set later. Work of a single piece shows nothing in a file."""

    def __init__(self, total: int | None = None, unit: str = "images", show: bool = True):
        on_terminal = sys.stderr.isatty()
        self.total, self.unit, self.done = total, unit, 0
        self._lines = show and not on_terminal
        self._start = time.perf_counter()
        self._bar = tqdm(total=total, unit=unit.removesuffix("s"), leave=False, disable=not (show and on_terminal))

    def update(self) -> None:
        """Count one more piece."""
        self.done += 1
        self._bar.total = self.total
        self._bar.update()
        if not self._lines or not self.total or self.total == 1:
            return
        tenth, before = (10 * count // self.total for count in (self.done, self.done - 1))
        if tenth > before:
            seconds = time.perf_counter() - self._start
            print(
                f"{100 * self.done // self.total} % of {self.total} {self.unit} ({seconds:.0f} s)",
                file=sys.stderr,
                flush=True,
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.close()
