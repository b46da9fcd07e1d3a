"""What belongs to a photograph beside its pixels: EXIF and XMP data, resolution, ICC profile, in and out of files.

Damaged metadata are no reason to refuse an image: what can't be read is left out.
"""

import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import tifffile
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from codes.utils.errors import warn

ORIENTATION = ExifTags.Base.Orientation.value
_XMP = 700
_TEXTS = tuple(
    getattr(ExifTags.Base, name).value
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "HostComputer", "Copyright")
)
"""EXIF data that stand in the first directory, which in a TIFF file is that of the image itself."""
_DIRECTORIES = (ExifTags.IFD.Exif.value, ExifTags.IFD.GPSInfo.value)
_PREFIX = b"Exif\0\0"
_TIFF = b"II*\0\x08\0\0\0"
_INCH = 0.0254
_JPEG_SEGMENT = 65_000


@dataclass(frozen=True)
class Metadata:
    """EXIF orientation (1 to 8; 1: as it lies), all EXIF data, ICC profile, XMP data, and dots per inch (x, y)."""

    orientation: int = 1
    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def metadata_of(opened: Image.Image) -> Metadata:
    """Of a PNG, JPEG or BMP file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            if opened.format == "PNG":
                opened.load()  # what stands behind the pixels
            exif = opened.getexif()
        orientation = _valid(exif.get(ORIENTATION, 1))
        blob = opened.info.get("exif") or (exif.tobytes() if exif else None)
    except Exception:  # damaged EXIF data raise many kinds of errors
        orientation, blob = 1, None
    xmp = opened.info.get("xmp")
    return Metadata(
        orientation,
        blob,
        opened.info.get("icc_profile"),
        xmp if isinstance(xmp, bytes) else None,
        _resolution(opened.info.get("dpi")),
    )


def metadata_of_tiff(data: bytes, page: tifffile.TiffPage) -> Metadata:
    """Of a TIFF file's content and first page."""
    whole, exif = _loaded(data), Image.Exif()
    for tag in (*_TEXTS, ORIENTATION):
        if tag in whole and not str(whole[tag]).startswith('{"shape": '):  # tifffile's note of its array
            exif[tag] = _as_stored(whole[tag])
    for tag in _DIRECTORIES:
        if entries := whole.get_ifd(tag):
            exif[tag] = {name: _as_stored(value) for name, value in entries.items()}
    blob = exif.tobytes() if exif else None
    tags = {tag.code: tag.value for tag in page.tags}
    xmp, unit = tags.get(_XMP), tags.get(296, 2)
    scale = {2: 1.0, 3: 100 * _INCH}.get(int(unit) if isinstance(unit, int) else 0)
    dpi = None if scale is None else _resolution((_ratio(tags.get(282)), _ratio(tags.get(283))), scale)
    profile = page.iccprofile
    return Metadata(_valid(tags.get(ORIENTATION, 1)), blob, profile, xmp if isinstance(xmp, bytes) else None, dpi)


def exif_of(metadata: Metadata) -> bytes | None:
    """All EXIF data, with the orientation, without the prefix that only JPEG has; None where there are none."""
    blob = metadata.exif
    if blob is None:
        if metadata.orientation == 1:
            return None
        exif = Image.Exif()
        exif[ORIENTATION] = metadata.orientation
        blob = exif.tobytes()
    return blob.removeprefix(_PREFIX)


def fitting_profile(metadata: Metadata, colours: bool) -> bytes | None:
    """The ICC profile, if it is one for such an image."""
    profile = metadata.icc_profile
    space = profile[16:20] if profile else b""
    return profile if space == (b"RGB " if colours else b"GRAY") else None


def jpeg_xmp(metadata: Metadata) -> bytes | None:
    """XMP data with the name by which readers of a JPEG file know them, which OpenCV does not put before them."""
    return None if metadata.xmp is None else b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp


def held_by_jpeg(part: bytes | None, what: str, where: object) -> bytes | None:
    """The part, if it is not too large for JPEG; else a warning."""
    if part is None or len(part) <= _JPEG_SEGMENT:
        return part
    warn(f"{where}: jpg holds no {what} of {len(part):,} bytes; left out")
    return None


def with_resolution(data: bytes, suffix: str, dpi: tuple[float, float] | None) -> bytes:
    """A PNG, JPEG or BMP file's content, as OpenCV or Pillow writes it, with dots per inch (x, y)."""
    if dpi is None:
        return data
    per_metre = [round(value / _INCH) for value in dpi]
    if suffix == ".png":
        return _with_chunk(data, b"pHYs" + struct.pack(">IIB", *per_metre, 1))
    if suffix == ".bmp":
        return data[:38] + struct.pack("<ii", *per_metre) + data[46:]
    if data[6:11] == b"JFIF\0":
        return data[:13] + struct.pack(">BHH", 1, *(round(value) for value in dpi)) + data[18:]
    return data


def png_with_xmp(data: bytes, xmp: bytes | None) -> bytes:
    """A PNG file's content with XMP data as readers look for them, which is not how OpenCV writes them."""
    return data if xmp is None else _with_chunk(data, b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + xmp)


def _with_chunk(data: bytes, chunk: bytes) -> bytes:
    """A PNG file's content with another chunk between its header and all else."""
    framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + framed + data[33:]


def tiff_keywords(metadata: Metadata, colours: bool) -> dict[str, Any]:
    """What `tifffile.imwrite` is told of it; `with_directories` adds the rest."""
    exif = _loaded(metadata.exif)
    texts = {tag: _as_stored(str(exif[tag])) for tag in _TEXTS if exif.get(tag)}
    tags = [(ORIENTATION, "H", 1, metadata.orientation, True)]
    tags += [(tag, "s", 0, text, True) for tag, text in texts.items()]
    if metadata.xmp:
        tags.append((_XMP, "B", len(metadata.xmp), metadata.xmp, True))
    return {
        "byteorder": "<",
        "metadata": None,
        "software": False,
        "iccprofile": fitting_profile(metadata, colours),
        "resolution": metadata.dpi,
        "resolutionunit": None if metadata.dpi is None else "inch",
        "extratags": tags,
    }


def with_directories(data: bytes, metadata: Metadata) -> bytes:
    """The content of a TIFF file written with `tiff_keywords`, with the directories of EXIF data."""
    exif, pointers = _loaded(metadata.exif), []
    for tag in _DIRECTORIES:
        if entries := exif.get_ifd(tag):
            data += bytes(len(data) % 2)  # directories start at even places
            directory = ImageFileDirectory_v2(_TIFF, group=tag)
            for name, value in entries.items():
                directory[name] = _as_stored(value)
            pointers.append(struct.pack("<HHII", tag, 4, 1, len(data)))
            data += directory.tobytes(len(data))
    if not pointers or not data.startswith(_TIFF[:4]):
        return data
    data += bytes(len(data) % 2)
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    pointers += [data[place : place + 12] for place in range(first + 2, first + 2 + 12 * count, 12)]
    pointers.sort(key=lambda entry: struct.unpack_from("<H", entry))
    directory = struct.pack("<H", len(pointers)) + b"".join(pointers) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def _loaded(data: bytes | None) -> Image.Exif:
    """EXIF data, of a TIFF file too; none where they are damaged."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load_from_fp(io.BytesIO((data or b"").removeprefix(_PREFIX)))
            exif.tobytes()
    except Exception:  # damaged EXIF data raise many kinds of errors
        return Image.Exif()
    return exif


def _as_stored(value: object) -> object:
    """Texts as the bytes that Pillow took them from, since it would write a question mark for each beyond ASCII."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _ratio(value: object) -> float:
    """Of a TIFF file's rational number; 0 for none."""
    return value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else 0.0


def _resolution(dpi: object, scale: float = 1.0) -> tuple[float, float] | None:
    """Dots per inch (x, y), if they are two that every format can hold."""
    try:
        x, y = (scale * float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(value) and 1 <= value < 2**16 - 1 for value in (x, y)) else None
