"""The scores of a method on disk: per_image.csv, and a journal of each process while it runs.

A score is written to the journal at once, so that a run that is killed loses only the image it was working on.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from codes.metrics.evaluation import COLUMNS, Failure, ImageScore
from codes.utils.files import read_csv, write_csv

_PER_IMAGE = "per_image.csv"
_JOURNALS = "per_image.*.part"


class Journal:
    """Appends the scores of one process to its journal; a context manager."""

    def __init__(self, folder: Path, rank: int):
        self.path = folder / _JOURNALS.replace("*", str(rank))

    def __enter__(self) -> Self:
        self._file = self.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._writer.writeheader()
        return self

    def add(self, outcome: ImageScore | Failure) -> None:
        """Write a score at once. A failure is not written."""
        if isinstance(outcome, ImageScore):
            self._writer.writerow(outcome.as_row())
            self._file.flush()

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def write_scores(folder: Path, outcomes: Iterable[ImageScore | Failure]) -> list[ImageScore]:
    """Write the scores to per_image.csv, sorted, and delete the journals. Returns the scores."""
    scores = sorted((outcome for outcome in outcomes if isinstance(outcome, ImageScore)), key=ImageScore.key)
    write_csv(folder / _PER_IMAGE, [score.as_row() for score in scores], COLUMNS)
    for journal in folder.glob(_JOURNALS):
        journal.unlink()
    return scores


def read_scores(folder: Path) -> list[ImageScore]:
    """The scores in per_image.csv and in the journals, without damaged lines."""
    rows = [
        row
        for path in (folder / _PER_IMAGE, *sorted(folder.glob(_JOURNALS)))
        if path.is_file()
        for row in read_csv(path)
    ]
    scores = {}
    for row in rows:
        if row.keys() == set(COLUMNS) and None not in row.values():
            try:
                score = ImageScore.from_row(row)
            except ValueError:
                continue
            scores[score.key()] = score
    return list(scores.values())
