"""Photographs as files: pixels with their bit depth and alpha channel, and metadata.

In memory an image is upright, as a viewer shows it. In a file it is stored as it was in the input, with the same
orientation tag.
"""

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from codes.data.images import FULL_SCALE, IMAGE_SUFFIXES, decode_bytes, header, read_bytes
from codes.restoration.metadata import ORIENTATION, Metadata, from_tags, metadata_of
from codes.restoration.pixels import as_float, as_integers
from codes.utils.errors import UserError, warn
from codes.utils.files import write_atomic

# Damaged files are reported by our own error, not by the library's log.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_KINDS = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_TIFF_SUFFIXES = (".tif", ".tiff")
_JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}
_PILLOW = {".png": {"format": "PNG", "compress_level": 3}, ".jpg": _JPEG, ".jpeg": _JPEG, ".bmp": {"format": "BMP"}}
# The orientation that `upright` needs to undo another one.
_INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


@dataclass(frozen=True)
class Photo:
    """An upright image (H, W, C), uint8, uint16 or float, C = 1, 3, or 2, 4 with alpha; and its metadata."""

    pixels: np.ndarray
    metadata: Metadata


def read_photo(path: str | Path) -> Photo:
    """Read a PNG, JPEG, BMP or TIFF file (8 or 16 bit; TIFF float as well).

    Raises UserError for a file that is missing, damaged, of another kind, or claims too many pixels.
    """
    data = read_bytes(path)
    if data.startswith(_TIFF_BEGINNINGS):
        return _read_tiff(data, path)
    opened = header(data, path)
    pixels = decode_bytes(data, path)
    pixels = pixels[..., None] if pixels.ndim == 2 else _as_rgb(pixels)
    if opened is not None and opened.mode in ("LA", "La"):  # OpenCV gives grey with alpha as colours
        pixels = pixels[..., [0, 3]]
    metadata = metadata_of(opened) if opened is not None else Metadata()
    return Photo(upright(pixels, metadata.orientation), metadata)


def write_photo(path: str | Path, photo: Photo) -> None:
    """Write a photo in the format that the suffix names, with its metadata.

    What the format cannot hold gives a warning: PNG no floats (16 bit instead), JPEG and BMP neither floats nor 16
    bit (8 bit instead), JPEG no alpha. Raises UserError for an unknown suffix, OSError where the file cannot be
    written; a file is never half-written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: an image of type {', '.join(IMAGE_SUFFIXES)} can be written, not '{suffix}'")
    pixels = photo.pixels if suffix in _TIFF_SUFFIXES else _fitted(photo.pixels, suffix, path)
    if suffix != ".bmp":  # a BMP file has no orientation tag
        pixels = upright(pixels, _INVERSE[photo.metadata.orientation])
    try:
        if suffix in _TIFF_SUFFIXES:
            data = _tiff(pixels, photo.metadata)
        elif pixels.dtype == np.uint16 and pixels.shape[2] > 1:
            data = _deep_png(pixels, photo.metadata)
        else:
            data = _with_pillow(pixels, suffix, photo.metadata)
    except (cv2.error, SystemError, ValueError, OSError) as error:  # an image that is too large, for example
        raise UserError(f"{path}: the image cannot be written as {suffix[1:]} ({error})") from None
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels (H, W, C) that are stored in an EXIF orientation as a viewer shows them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert between OpenCV's order of channels and red, green, blue, alpha."""
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] >= 3 else pixels


def _read_tiff(data: bytes, path: str | Path) -> Photo:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if reason := _reason_to_refuse(file):
                raise UserError(f"{path}: {reason}")
            page = file.pages[0]
            pixels, axes = page.asarray(), page.axes
            if pixels.ndim != len(axes) or not pixels.size:
                raise ValueError("its size is missing")
            metadata = from_tags({tag.code: tag.value for tag in page.tags}, page.iccprofile)
    except UserError:
        raise
    except Exception as error:  # tifffile and its codecs raise errors of many kinds for damaged files
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable TIFF image ({reason}); is it damaged?") from None
    pixels = {"YX": pixels[..., None], "YXS": pixels, "SYX": np.moveaxis(pixels, 0, -1)}[axes]
    return Photo(upright(pixels, metadata.orientation), metadata)


def _reason_to_refuse(file: tifffile.TiffFile) -> str | None:
    """What is wrong with a TIFF file that is not one plain grey or RGB image, with thumbnails of it at most."""
    images, page = sum(not page.is_reduced for page in file.pages), file.pages[0]
    if images > 1:
        return f"holds {images} images; store the one to restore in a file of its own"
    if page.size > 8 * Image.MAX_IMAGE_PIXELS:
        return f"claims {page.size:,} values, which is refused"
    if 0 in (*page.databytecounts, *page.dataoffsets):
        return "parts of the image are missing from the file; is it damaged?"
    if tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
        return "its colours are multiplied by alpha; store it with unassociated alpha"
    if page.photometric not in _TIFF_KINDS or np.min(page.bitspersample) < 8 or page.axes not in ("YX", "YXS", "SYX"):
        kind = f"{getattr(page.photometric, 'name', page.photometric)} with {page.bitspersample} bits, axes {page.axes}"
        return f"a TIFF image of kind {kind}; a plain grey or RGB image of 8 bits or more is needed"
    return None


def _fitted(pixels: np.ndarray, suffix: str, path: Path) -> np.ndarray:
    """The pixels in a type and with channels that PNG, JPEG or BMP can hold."""
    if pixels.dtype not in FULL_SCALE or (pixels.dtype == np.uint16 and suffix != ".png"):
        bits = np.dtype(np.uint16 if suffix == ".png" else np.uint8)
        warn(f"{path}: {suffix[1:]} holds no {pixels.dtype} values; written with {8 * bits.itemsize} bits")
        pixels = as_integers(as_float(pixels), bits)
    if suffix in (".jpg", ".jpeg") and pixels.shape[2] in (2, 4):
        warn(f"{path}: {suffix[1:]} holds no alpha channel; it is dropped")
        return pixels[..., :-1]
    if pixels.shape[2] == 2 and (suffix == ".bmp" or pixels.dtype == np.uint16):
        warn(f"{path}: grey with alpha cannot be written as {suffix[1:]} of this depth; written as colours with alpha")
        return pixels[..., [0, 0, 0, 1]]
    return pixels


def _tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """A TIFF file of any pixels."""
    channels, file = pixels.shape[2], io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        metadata=None,
        software=False,
        iccprofile=metadata.fitting_profile(channels),
        resolution=metadata.dpi,
        resolutionunit=None if metadata.dpi is None else "inch",
        extratags=[(ORIENTATION, "H", 1, metadata.orientation, True)],
    )
    return file.getvalue()


def _deep_png(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """A PNG file of uint16 colours, which Pillow does not write."""
    exif = metadata.exif().tobytes().removeprefix(b"Exif\0\0")  # a prefix that only JPEG has
    parts = {cv2.IMAGE_METADATA_EXIF: exif, cv2.IMAGE_METADATA_ICCP: metadata.fitting_profile(pixels.shape[2])}
    parts = {kind: np.frombuffer(part, np.uint8) for kind, part in parts.items() if part}
    image = np.ascontiguousarray(_as_rgb(pixels))
    done, data = cv2.imencodeWithMetadata(".png", image, list(parts), list(parts.values()))
    if not done:
        raise ValueError("OpenCV refuses it")
    return data.tobytes()


def _with_pillow(pixels: np.ndarray, suffix: str, metadata: Metadata) -> bytes:
    """A PNG, JPEG or BMP file of 8-bit pixels, or of 16-bit grey ones as PNG."""
    file = io.BytesIO()
    parts = {
        "exif": metadata.exif() if metadata.orientation != 1 else None,
        "icc_profile": metadata.fitting_profile(pixels.shape[2]),
        "dpi": metadata.dpi,
    }
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    image.save(file, **_PILLOW[suffix], **{name: part for name, part in parts.items() if part is not None})
    return file.getvalue()
