"""Metadata that are kept: EXIF orientation, ICC profile and resolution. Damaged metadata are left out."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

ORIENTATION = ExifTags.Base.Orientation.value
# X and Y resolution and their unit.
_X, _Y, _UNIT = 282, 283, 296
# Dots per unit of length -> dots per inch, for the units of EXIF and TIFF: inch (also if none is given), centimetre.
_PER_INCH = {None: 1.0, 2: 1.0, 3: 2.54}


@dataclass(frozen=True)
class Metadata:
    """EXIF orientation (1 to 8; 1: stored as shown), ICC profile, and resolution in dots per inch (x, y)."""

    orientation: int = 1
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None

    def exif(self) -> Image.Exif:
        """EXIF data with orientation and resolution."""
        exif = Image.Exif()
        exif[ORIENTATION] = self.orientation
        if self.dpi is not None:
            exif[_X], exif[_Y] = self.dpi
            exif[_UNIT] = 2
        return exif

    def fitting_profile(self, channels: int) -> bytes | None:
        """The ICC profile if it suits this number of channels (1 or 2: grey, 3 or 4: RGB)."""
        space = b"RGB " if channels > 2 else b"GRAY"
        return self.icc_profile if self.icc_profile and self.icc_profile[16:20] == space else None


def metadata_of(opened: Image.Image) -> Metadata:
    """The metadata of a PNG, JPEG or BMP file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tags = dict(opened.getexif())
    except Exception:  # damaged EXIF data raise errors of many kinds
        tags = {}
    x, y = opened.info.get("dpi", (None, None))
    return from_tags(tags, opened.info.get("icc_profile"), _resolution(x, y))


def from_tags(tags: Mapping[int, Any], icc_profile: bytes | None, dpi: tuple[float, float] | None = None) -> Metadata:
    """The metadata in EXIF or TIFF tags. dpi: resolution that the file states elsewhere, which has priority."""
    orientation = tags.get(ORIENTATION)
    valid = isinstance(orientation, int) and 1 <= orientation <= 8
    dpi = dpi or _resolution(tags.get(_X), tags.get(_Y), tags.get(_UNIT))
    return Metadata(orientation if valid else 1, icc_profile, dpi)


def _resolution(x: Any, y: Any, unit: object = None) -> tuple[float, float] | None:
    """Dots per inch of two numbers or fractions; None if they are missing or a format could not store them."""
    try:
        scale = _PER_INCH[unit]
        dpi = tuple(scale * (part[0] / part[1] if isinstance(part, tuple) else float(part)) for part in (x, y))
    except (TypeError, ValueError, ZeroDivisionError, KeyError, IndexError):
        return None
    return dpi if all(1 <= value < 2**16 - 1 for value in dpi) else None
