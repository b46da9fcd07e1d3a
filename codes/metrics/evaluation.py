"""Restore the images of a test set and score them."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np

from codes.data.images import to_8bit, write_8bit
from codes.data.triples import TripleDataset
from codes.metrics.quality import quality
from codes.models.restorer import Restorer
from codes.utils.errors import UserError


@dataclass(frozen=True)
class ImageScore:
    """One line of per_image.csv: PSNR in dB, SSIM, on RGB (or grey) and on luma; seconds and peak MiB to restore."""

    set: str
    image: str
    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float
    seconds: float
    memory: float | None
    """None where the system does not tell"""

    def key(self) -> tuple[str, str]:
        """Set and image."""
        return self.set, self.image

    def as_row(self) -> dict[str, object]:
        """Rounded for a CSV file: quality to 1e-4 dB and 1e-6."""
        row: dict[str, object] = asdict(self)
        for key, digits in DIGITS.items():
            row[key] = "" if row[key] is None else f"{row[key]:.{digits}f}"
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> "ImageScore":
        """The score of a row of a CSV file. Raises ValueError where a figure is none."""
        figures = {name: float(row[name]) for name in DIGITS if name != "memory"}
        return cls(row["set"], row["image"], **figures, memory=float(row["memory"]) if row["memory"] else None)


DIGITS = {"psnr": 4, "ssim": 6, "psnr_y": 4, "ssim_y": 6, "seconds": 4, "memory": 0}
COLUMNS = tuple(field.name for field in fields(ImageScore))


@dataclass(frozen=True)
class Failure:
    """An image that could not be restored or scored, and why."""

    method: str
    set: str
    image: str
    reason: str

    def __str__(self) -> str:
        return "{}: {}/{}: {}".format(*astuple(self))


def restored_path(folder: Path, image: str, suffix: str | None) -> Path:
    """Where a restored image is saved."""
    return folder / f"{image}{'_' + suffix if suffix else ''}.png"


def evaluate_image(
    method: str,
    restorer: Restorer,
    dataset: TripleDataset,
    index: int,
    set_name: str,
    folder: Path,
    suffix: str | None = None,
    crop_border: int | None = None,
    noise_sigma: float | None = None,
) -> ImageScore | Failure:
    """Restore image `index`, save it as `folder`/<image>[_<suffix>].png and score it.

    A grey ground truth is scored as grey. Whatever goes wrong with one image is returned as a
    Failure, so that the others are not lost; a full disk or a lost folder is raised.
    """
    name = dataset.name(index)
    try:
        triple = dataset[index]
        restored = restorer.restore(triple.blurry, triple.kernel, noise_sigma)
        image = restored.image
        if not np.isfinite(image).all():
            raise UserError("the restored image holds values that are not finite")
        if triple.ground_truth.shape[2] == 1 < image.shape[2]:
            image = image.mean(2, keepdims=True)
        elif image.shape[2] < triple.ground_truth.shape[2]:
            image = image.repeat(3, 2)
        pixels = to_8bit(image)
        scores = quality(to_8bit(triple.ground_truth), pixels, crop_border or 0)
    except Exception as error:  # whatever it is, the other images are still to be restored
        return Failure(method, set_name, name, " ".join(str(error).split()) or type(error).__name__)
    write_8bit(restored_path(folder, name, suffix), pixels)
    return ImageScore(set_name, name, *scores, restored.seconds, restored.memory)
