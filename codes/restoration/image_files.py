"""Photographs with what belongs to their file: bit depth, alpha, EXIF data, ICC profile and the like.

In memory an image is upright, as a viewer shows it; in the file it lies as it lay in the input,
and the orientation tag is carried through. PNG, JPEG and TIFF keep all metadata, BMP the resolution.
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
from codes.restoration.metadata import (
    Metadata,
    exif_of,
    fitting_profile,
    held_by_jpeg,
    jpeg_xmp,
    metadata_of,
    metadata_of_tiff,
    png_with_xmp,
    tiff_keywords,
    with_directories,
    with_resolution,
)
from codes.restoration.pixels import as_float, as_integers
from codes.utils.errors import UserError, warn
from codes.utils.files import write_atomic

# What is wrong with a file is said in one line, by us.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_SUFFIXES = (".tif", ".tiff")
_KINDS = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


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
    if opened is not None and opened.mode in ("CMYK", "YCCK"):
        warn(f"{path}: CMYK colours are converted to RGB without their profile")
    metadata = metadata_of(opened) if opened is not None else Metadata()
    return Photo(upright(pixels, metadata.orientation), metadata)


def write_photo(path: str | Path, photo: Photo) -> None:
    """Write a photo in the format that the suffix names, its metadata included.

    What the format can't hold is said in a warning: PNG no floats (16 bit instead), JPEG and BMP
    neither floats nor 16 bit (8 bit instead), JPEG no alpha. Raises UserError for an unknown
    suffix, OSError where the file can't be written; nothing is half-written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: an image of type {', '.join(IMAGE_SUFFIXES)} can be written, not '{suffix}'")
    pixels, metadata = photo.pixels, photo.metadata
    if suffix in _TIFF_SUFFIXES:
        data = _tiff(upright(pixels, _INVERSE[metadata.orientation]), metadata)
    else:
        pixels = _fitted(pixels, suffix, path)
        if suffix != ".bmp":  # which has no place for a tag
            pixels = upright(pixels, _INVERSE[metadata.orientation])
        data = _encoded(pixels, suffix, metadata, path)
        if suffix == ".png":
            data = png_with_xmp(data, metadata.xmp)
        sideways = suffix == ".bmp" and metadata.orientation >= 5
        data = with_resolution(data, suffix, metadata.dpi[::-1] if metadata.dpi and sideways else metadata.dpi)
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


_INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation whose `upright` undoes that of another."""


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) that lie as an EXIF orientation says, as a viewer shows them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Between OpenCV's order of channels and red, green, blue, alpha."""
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] >= 3 else pixels


def _read_tiff(data: bytes, path: str | Path) -> Photo:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [page for page in file.pages if not page.is_reduced]  # without thumbnails
            if len(pages) > 1:
                raise UserError(f"{path}: holds {len(pages)} images; store the one to restore in a file of its own")
            page = file.pages[0]
            if page.size > 8 * Image.MAX_IMAGE_PIXELS:
                raise UserError(f"{path}: claims {page.size:,} values, which is refused")
            if 0 in (*page.databytecounts, *page.dataoffsets):
                raise UserError(f"{path}: parts of the image are missing from the file; is it damaged?")
            if tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
                raise UserError(f"{path}: its colours are multiplied by alpha; store it with unassociated alpha")
            kind, axes, bits = page.photometric, page.axes, int(np.max(page.bitspersample))
            pixels = page.asarray()
            metadata = metadata_of_tiff(data, page)
    except UserError:
        raise
    except Exception as error:  # tifffile and its codecs raise many kinds for damaged files
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable TIFF image ({reason}); is it damaged?") from None
    inverted = kind == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "bu"
    if not inverted and kind not in _KINDS:
        raise UserError(f"{path}: a TIFF image of kind {getattr(kind, 'name', kind)}; grey or RGB is needed")
    if axes == "SYX":
        pixels, axes = np.moveaxis(pixels, 0, 2), "YXS"
    if pixels.ndim != len(axes) or not pixels.size:
        raise UserError(f"{path}: not a readable TIFF image (its size is missing); is it damaged?")
    if axes not in ("YX", "YXS"):
        raise UserError(f"{path}: an image with axes {axes}; a plain grey or RGB image is needed")
    pixels = pixels[..., None] if axes == "YX" else pixels
    if inverted:
        pixels = np.concatenate([_inverted(pixels[..., :1], bits), pixels[..., 1:]], 2)
    if bits < 8:
        pixels = np.rint(pixels * (255 / (2**bits - 1))).astype(np.uint8)
    return Photo(upright(pixels, metadata.orientation), metadata)


def _inverted(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Of unsigned values of so many bits, of which the smallest is white, those of which it is black."""
    return ~pixels if pixels.dtype == bool else pixels.dtype.type(2**bits - 1) - pixels


def _tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    colours, alpha = pixels.shape[2] > 2, pixels.shape[2] in (2, 4)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if pixels.shape[2] > 1 else pixels[..., 0],
        photometric="rgb" if colours else "minisblack",
        planarconfig="contig" if pixels.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if alpha else None,
        compression="zlib",
        predictor=True,
        **tiff_keywords(metadata, colours),
    )
    return with_directories(file.getvalue(), metadata)


def _fitted(pixels: np.ndarray, suffix: str, path: Path) -> np.ndarray:
    """The pixels in a type, and with channels, that PNG, JPEG or BMP can hold."""
    if pixels.dtype not in FULL_SCALE or (pixels.dtype == np.uint16 and suffix != ".png"):
        bits = np.dtype(np.uint16 if suffix == ".png" else np.uint8)
        warn(f"{path}: {suffix[1:]} holds no {pixels.dtype} values; written with {8 * bits.itemsize} bits")
        pixels = as_integers(as_float(pixels), bits)
    if suffix in (".jpg", ".jpeg") and pixels.shape[2] in (2, 4):
        warn(f"{path}: {suffix[1:]} holds no alpha channel; it is dropped")
        pixels = pixels[..., :-1]
    return pixels


def _encoded(pixels: np.ndarray, suffix: str, metadata: Metadata, path: Path) -> bytes:
    colours = pixels.shape[2] > 2
    if pixels.shape[2] == 2 and pixels.dtype == np.uint8 and suffix == ".png":  # OpenCV doesn't write it
        return _grey_with_alpha(pixels, metadata)
    if pixels.shape[2] == 2:
        warn(f"{path}: grey with alpha can't be written as {suffix[1:]} of this depth; written as colours with alpha")
        pixels = pixels[..., [0, 0, 0, 1]]
    exif, xmp, profile = exif_of(metadata), None, fitting_profile(metadata, colours)
    jpeg = suffix in (".jpg", ".jpeg")
    if jpeg:
        exif, xmp = held_by_jpeg(exif, "EXIF data", path), held_by_jpeg(jpeg_xmp(metadata), "XMP data", path)
        profile = held_by_jpeg(profile, "ICC profile", path)
    parts = {
        cv2.IMAGE_METADATA_EXIF: exif,
        cv2.IMAGE_METADATA_XMP: xmp,
        cv2.IMAGE_METADATA_ICCP: profile,
    }
    parts = {kind: np.frombuffer(part, np.uint8) for kind, part in parts.items() if part and suffix != ".bmp"}
    parameters = _JPEG if jpeg else ()
    image = np.ascontiguousarray(_as_rgb(pixels))
    try:
        done, data = cv2.imencodeWithMetadata(suffix, image, list(parts), list(parts.values()), parameters)
    except cv2.error as error:
        raise UserError(f"{path}: the image can't be written as {suffix[1:]} ({error.err})") from None
    if not done:
        raise UserError(f"{path}: the image can't be written as {suffix[1:]}")
    return data.tobytes()


def _grey_with_alpha(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """A PNG file of uint8 pixels (H, W, 2)."""
    file = io.BytesIO()
    parts = {"exif": exif_of(metadata), "icc_profile": fitting_profile(metadata, colours=False)}
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", **{k: v for k, v in parts.items() if v})
    return file.getvalue()
