"""Progress of long work: a bar on a terminal, a line for every 10 percent in a file."""

import sys
import time

from tqdm import tqdm


class Progress(tqdm):
    """Counts pieces of work on stderr; `total` may be set later. Work of a single piece shows nothing in a file."""

    def __init__(self, total: int | None = None, unit: str = "images", show: bool = True):
        super().__init__(total=total, unit=unit, leave=False, disable=None if show else True)
        self.unit, self.done, self._start = unit, 0, time.perf_counter()
        self._lines = show and not sys.stderr.isatty()

    def update(self, n: int = 1) -> None:
        """Count n more pieces."""
        super().update(n)
        self.done += n
        if not self._lines or not self.total or self.total == 1:
            return
        tenth, before = (10 * count // self.total for count in (self.done, self.done - n))
        if tenth > before:
            share, seconds = 100 * self.done // self.total, time.perf_counter() - self._start
            print(f"{share} % of {self.total} {self.unit} ({seconds:.0f} s)", file=sys.stderr, flush=True)
