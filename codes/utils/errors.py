"""Errors that a user can cause, and how a command line reports them."""

import errno
import io
import json
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

# Exit status after Ctrl-C, the same as that of shells.
INTERRUPTED = 130
# Longest message, in characters.
LONGEST = 300


class UserError(Exception):
    """An error that the user can correct. The message says what is wrong, where, and what to do."""


def warn(message: str) -> None:
    """Print one warning line to stderr."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def in_one_line(error: Exception) -> str:
    """The message of an error in one line of at most LONGEST characters. A full disk is described."""
    text = str(error)
    if isinstance(error, OSError):
        where = f" ({Path(str(error.filename))})" if error.filename else ""
        text = f"{error.strerror or error}{where}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and error.filename:
            folder = next(path for path in Path(error.filename).absolute().parents if path.is_dir())
            text += f"; {shutil.disk_usage(folder).free / 1e6:.1f} MB are free there, make space or write elsewhere"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[5 - LONGEST // 2 :]}"


def explain_pytorch(error: Exception) -> Exception | None:
    """The UserError for an error of PyTorch with a cause outside the program; None for any other error.

    These are memory that is short, and a data worker that ended or in which something was raised.
    """
    text = str(error)
    if isinstance(error, MemoryError) or re.search(r"alloc|out of memory|shared memory|Bus error", text, re.I):
        return UserError("memory is not enough; use fewer or smaller images, patches, tiles, batches or data workers")
    if worker := re.search(r"DataLoader worker \(pid.*?(\d+)", text):
        return UserError(f"a data worker (process {worker[1]}) ended early; was it killed, or is memory short?")
    return None


def place_in_code(error: Exception) -> str:
    """File and line of this package where an error was raised, such as `toy.py, line 12`; "" if it was elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(Path(__file__).parents[1])]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint for a misspelt `word`: the nearest of `choices`, or all of them if none is near."""
    choices = sorted(choices)
    close = get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"valid are: {', '.join(choices)}"


def run_command_line(
    main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None, interrupted: str = "interrupted"
) -> int:
    """Run `main(argv)` and print an error that the user can correct as one line on stderr.

    Returns the exit status: that of `main`, 1 after a UserError or an error of the file system, INTERRUPTED
    after Ctrl-C, which prints `interrupted`.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as the commands have it during their imports
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character is not an error
            stream.reconfigure(errors="backslashreplace")
    try:
        return main(sys.argv[1:] if argv is None else list(argv))
    except (UserError, OSError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (UserError, OSError)):
            known = explain_pytorch(error)
            if known is None:
                raise
            error = known
        line = f"error: {in_one_line(error)}"
        print(line, file=sys.stderr, flush=True)
        if isinstance(error, UserError):
            _tell_torchrun(line)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr, flush=True)
        return INTERRUPTED


def _tell_torchrun(line: str) -> None:
    """Under torchrun, put the line into the report at the end of its own messages."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        Path(file).write_text(json.dumps({"message": line, "timestamp": int(time.time())}), encoding="utf-8")
