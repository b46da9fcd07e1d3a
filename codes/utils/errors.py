"""Errors that a user can cause, and how a command line reports them."""

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

# Exit status after Ctrl-C, the same as that of shells.
INTERRUPTED = 130


class UserError(Exception):
    """An error that the user can correct. The message says what is wrong, where, and what to do."""


def warn(message: str) -> None:
    """Print one warning line to stderr."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def in_one_line(error: UserError | OSError) -> str:
    """The message of an error in one line."""
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    where = f" ({Path(str(error.filename))})" if error.filename else ""
    return f"{error.strerror or error}{where}"


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
    except (UserError, OSError) as error:
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
