"""The scores of a method on disk: per_image.csv, and a journal of each process while it runs.

A score is written to the journal at once, so that a run that is killed loses only the image it was working on.
"""

import csv
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from codes.metrics.evaluation import COLUMNS, Failure, ImageScore
from codes.utils.files import read_csv, write_csv

_PER_IMAGE = "per_image.csv"
_JOURNALS = "per_image.*.part"


def add_to_journal(folder: Path, rank: int, score: ImageScore) -> None:
    """Append a score to the journal of the process `rank`."""
    with (folder / _JOURNALS.replace("*", str(rank))).open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(score.as_row())


def write_scores(folder: Path, outcomes: Iterable[ImageScore | Failure]) -> list[ImageScore]:
    """Write the scores to per_image.csv, sorted, and delete the journals. Returns the scores."""
    scores = sorted((outcome for outcome in outcomes if isinstance(outcome, ImageScore)), key=ImageScore.key)
    write_csv(folder / _PER_IMAGE, [score.as_row() for score in scores], COLUMNS)
    for journal in folder.glob(_JOURNALS):
        journal.unlink()
    return scores


def read_scores(folder: Path) -> list[ImageScore]:
    """The scores in per_image.csv and in the journals, without damaged lines."""
    scores = {}
    for path in (folder / _PER_IMAGE, *sorted(folder.glob(_JOURNALS))):
        for row in read_csv(path) if path.is_file() else []:
            if row.keys() == set(COLUMNS) and None not in row.values():
                with suppress(ValueError):
                    score = ImageScore.from_row(row)
                    scores[score.key()] = score
    return list(scores.values())
