"""The scores of a method on disk: per_image.csv, and a journal of each process while it runs.

A line reaches the journal as soon as its image is scored, so that a run killed at any instant
loses no more than the image that it was at.
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
    """Appends one process's scores; a context manager."""

    def __init__(self, folder: Path, rank: int):
        self.path = folder / _JOURNALS.replace("*", str(rank))

    def __enter__(self) -> Self:
        self._file = self.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._writer.writeheader()
        return self

    def add(self, outcome: ImageScore | Failure) -> None:
        """Write a score at once; a failure is not kept."""
        if isinstance(outcome, ImageScore):
            self._writer.writerow(outcome.as_row())
            self._file.flush()

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def write_scores(folder: Path, outcomes: Iterable[ImageScore | Failure]) -> list[ImageScore]:
    """Write per_image.csv of the images that were scored, in order, in place of the journals; returns them."""
    scores = sorted((outcome for outcome in outcomes if isinstance(outcome, ImageScore)), key=ImageScore.key)
    write_csv(folder / _PER_IMAGE, [score.as_row() for score in scores], COLUMNS)
    for journal in folder.glob(_JOURNALS):
        journal.unlink()
    return scores


def read_scores(folder: Path) -> list[ImageScore]:
    """What per_image.csv and the journals hold; a line that is damaged or cut off counts nothing."""
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
