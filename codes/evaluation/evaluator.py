"""Restore the images of a test set, save them and score them; the scores as files.

The scores of a method are in per_image.csv, and while it runs in a journal of each process: a score is written to it at
once, so that a run that is killed loses only the image it was working on.
"""

import csv
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from codes.data.images import to_8bit, write_8bit
from codes.data.triples import Triple, TripleDataset
from codes.evaluation.metrics import quality
from codes.inference.restorer import Restorer
from codes.options import TestSet
from codes.utils.errors import UserError, place_in_code
from codes.utils.files import naming, read_csv, write_csv


@dataclass(frozen=True)
class ImageScore:
    """One line of per_image.csv.

    PSNR in dB and SSIM, on all channels and on luma (_y); seconds and peak memory in MiB of the restoration.
    memory is None if the system does not report it.
    """

    set: str
    image: str
    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float
    seconds: float
    memory: float | None

    def key(self) -> tuple[str, str]:
        """Set and image."""
        return self.set, self.image

    def as_row(self) -> dict[str, object]:
        """The score as text for a CSV file, rounded to DIGITS."""
        row: dict[str, object] = asdict(self)
        for key, digits in DIGITS.items():
            row[key] = "" if row[key] is None else f"{row[key]:.{digits}f}"
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> "ImageScore":
        """The score in a row of a CSV file. Raises ValueError, KeyError or TypeError if the row is damaged."""
        figures = {name: float(row[name]) for name in DIGITS if name != "memory"}
        return cls(row["set"], row["image"], **figures, memory=float(row["memory"]) if row["memory"] else None)


# Decimal places in per_image.csv.
DIGITS = {"psnr": 4, "ssim": 6, "psnr_y": 4, "ssim_y": 6, "seconds": 4, "memory": 0}
COLUMNS = tuple(field.name for field in fields(ImageScore))
# Tracebacks of a run.
ERRORS = "errors.log"
_PER_IMAGE = "per_image.csv"
_JOURNALS = "per_image.*.part"


def restored_path(folder: Path, image: str, suffix: str | None) -> Path:
    """Where a restored image is saved."""
    return folder / f"{image}{'_' + suffix if suffix else ''}.png"


@dataclass(frozen=True)
class Evaluator:
    """Evaluates one method, whose results are written to `folder`/<set>/<image>[_<suffix>].png.

    crop_border: pixels at each side that are not scored.
    """

    method: str
    restorer: Restorer
    folder: Path
    suffix: str | None = None
    crop_border: int = 0

    def evaluate(self, test_set: TestSet, dataset: TripleDataset, index: int) -> ImageScore | str:
        """Restore image `index` of the set, save and score it.

        If anything goes wrong with the image, the reason is returned as text, so that the others are not lost. The
        traceback of an error in the code, such as in a network of your own, is added to errors.log in the folder. An
        OSError while writing (a full disk) is raised.
        """
        name = dataset.name(index)
        try:
            triple = dataset[index]
            restored = self.restorer.restore(triple.blurry, triple.kernel, test_set.noise_sigma)
            truth, image = comparable(triple, restored.image)
            scores = quality(truth, image, self.crop_border)
        except Exception as error:  # Whatever it is, the other images can still be restored.
            reason = " ".join(str(error).split()) or type(error).__name__
            failure = f"{self.method}: {test_set.name}/{name}: {reason}"
            if isinstance(error, (UserError, OSError)):
                return failure
            with (self.folder / ERRORS).open("a", encoding="utf-8") as file:
                file.write(f"{failure}\n{traceback.format_exc()}\n")
            return f"{failure} ({place_in_code(error)}; traceback in {self.folder / ERRORS})"
        write_8bit(restored_path(self.folder / test_set.name, name, self.suffix), image)
        return ImageScore(test_set.name, name, *scores, restored.seconds, restored.memory)

    def warm_up(self, test_set: TestSet, dataset: TripleDataset, index: int) -> None:
        """Restore an image without keeping anything, so that the first image's seconds are like the others'."""
        with suppress(Exception):  # `evaluate` reports what is wrong with the image.
            triple = dataset[index]
            self.restorer.restore(triple.blurry, triple.kernel, test_set.noise_sigma)


def comparable(triple: Triple, restored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ground truth and restored image as uint8 of one shape (H, W, C); if only one is grey, it is repeated.

    Raises UserError for values that are not finite.
    """
    if not np.isfinite(restored).all():
        raise UserError("the restored image has values that are not finite")
    channels = max(triple.ground_truth.shape[2], restored.shape[2])
    truth, image = (to_8bit(a).repeat(channels // a.shape[2], 2) for a in (triple.ground_truth, restored))
    return truth, image


def add_to_journal(folder: Path, rank: int, score: ImageScore) -> None:
    """Append a score to the journal of the process `rank`."""
    path = folder / _JOURNALS.replace("*", str(rank))
    with naming(path), path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(score.as_row())


def write_scores(folder: Path, outcomes: Iterable[ImageScore | str]) -> list[ImageScore]:
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
            with suppress(ValueError, KeyError, TypeError):
                score = ImageScore.from_row(row)
                scores[score.key()] = score
    return list(scores.values())
