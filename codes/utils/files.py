"""Writing files. They are written under a temporary name and renamed, so that no file is ever incomplete."""

import csv
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# The project's root. Relative paths in option files start here.
ROOT = Path(__file__).resolve().parents[2]
# The tables that the docs show. Only the commands in docs/maintaining.md write there.
PUBLISHED = ROOT / "results" / "published"


def from_root(path: str | Path) -> Path:
    """An absolute path unchanged; a relative one below the project's root."""
    return ROOT / os.path.expanduser(path)


def write_atomic(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, then rename the file to `path`.

    The temporary name has the same suffix, from which image writers choose the format. An OSError names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = None
    try:
        with naming(path):
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix)
            os.close(handle)
            temporary = Path(name)
            write(temporary)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_left_overs(folder: Path) -> None:
    """Remove the temporary files that killed processes left below a folder, which no process may use now."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\..*-\w{8}(\.\w+)?", path.name) and path.is_file():
            path.unlink()


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An OSError of the system within the block names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: str | Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write a header line with `columns`, then `rows`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header line."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
