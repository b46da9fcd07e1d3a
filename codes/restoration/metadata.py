"""Metadata that are kept: EXIF orientation, ICC profile and resolution. Damaged metadata are left out."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import tifffile
from PIL import ExifTags, Image

ORIENTATION = ExifTags.Base.Orientation.value
# X and Y resolution and their unit.
_X, _Y, _UNIT = 282, 283, 296
# Dots per unit of length -> dots per inch, for the units of EXIF and TIFF: inch and centimetre.
_PER_INCH = {2: 1.0, 3: 2.54}


@dataclass(frozen=True)
class Metadata:
    """EXIF orientation (1 to 8; 1: stored as shown), ICC profile, and resolution in dots per inch (x, y)."""

    orientation: int = 1
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None


def metadata_of(opened: Image.Image) -> Metadata:
    """The metadata of a PNG, JPEG or BMP file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            exif = dict(opened.getexif())
    except Exception:  # damaged EXIF data raise errors of many kinds
        exif = {}
    dpi = _resolution(opened.info.get("dpi")) or _resolution(*(exif.get(tag) for tag in (_X, _Y, _UNIT)))
    return Metadata(_valid(exif.get(ORIENTATION)), opened.info.get("icc_profile"), dpi)


def metadata_of_tiff(page: tifffile.TiffPage) -> Metadata:
    """The metadata of a TIFF file's page."""
    tags = {tag.code: tag.value for tag in page.tags}
    dpi = _resolution(*(tags.get(tag) for tag in (_X, _Y, _UNIT)))
    return Metadata(_valid(tags.get(ORIENTATION)), page.iccprofile, dpi)


def exif_of(metadata: Metadata) -> Image.Exif:
    """EXIF data with orientation and resolution."""
    exif = Image.Exif()
    exif[ORIENTATION] = metadata.orientation
    if metadata.dpi is not None:
        exif[_X], exif[_Y] = metadata.dpi
        exif[_UNIT] = 2
    return exif


def pillow_keywords(metadata: Metadata, colours: bool) -> dict[str, Any]:
    """Keywords for `Image.save`."""
    keywords = {
        "exif": exif_of(metadata) if metadata.orientation != 1 else None,
        "icc_profile": fitting_profile(metadata, colours),
        "dpi": metadata.dpi,
    }
    return {name: value for name, value in keywords.items() if value is not None}


def tiff_keywords(metadata: Metadata, colours: bool) -> dict[str, Any]:
    """Keywords for `tifffile.imwrite`."""
    return {
        "metadata": None,
        "software": False,
        "iccprofile": fitting_profile(metadata, colours),
        "resolution": metadata.dpi,
        "resolutionunit": None if metadata.dpi is None else "inch",
        "extratags": [(ORIENTATION, "H", 1, metadata.orientation, True)],
    }


def fitting_profile(metadata: Metadata, colours: bool) -> bytes | None:
    """The ICC profile, if it is one for such an image."""
    profile = metadata.icc_profile
    space = profile[16:20] if profile else b""
    return profile if space == (b"RGB " if colours else b"GRAY") else None


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _resolution(x: object, y: object = None, unit: object = 2) -> tuple[float, float] | None:
    """Dots per inch of a pair (x, y) or of two numbers or fractions; None if a format could not hold them."""
    try:
        x, y = x if y is None else (x, y)
        scale = _PER_INCH[2 if unit is None else int(unit)]
        dpi = tuple(scale * (part[0] / part[1] if isinstance(part, tuple) else float(part)) for part in (x, y))
    except (TypeError, ValueError, ZeroDivisionError, KeyError, IndexError):
        return None
    return dpi if all(math.isfinite(value) and 1 <= value < 2**16 - 1 for value in dpi) else None
