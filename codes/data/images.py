"""Reading and writing images: RGB order, float32, 0 to 1."""

import io
import re
import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from codes.utils.errors import UserError, warn
from codes.utils.files import ROOT, write_atomic

# Suffixes of image files.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# The value of white in integer images.
FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}

# Damaged files are reported by our own error, not by OpenCV.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(path: str | Path) -> np.ndarray:
    """The file's pixels as stored, (H, W) or (H, W, C) in OpenCV's channel order.

    Raises UserError for a file that is missing or not a readable image, and as `header` does.
    """
    data = read_bytes(path)
    header(data, path)
    return decode_bytes(data, path)


def read_bytes(path: str | Path) -> bytes:
    """A file's content. Raises UserError if it cannot be read."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe or a device might never end
            raise UserError(f"{path}: cannot be read (not a regular file)")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def header(data: bytes, where: str | Path) -> Image.Image | None:
    """The image file with content `data`, pixels not read yet; None for a kind that Pillow does not know.

    Raises UserError for a file that claims more pixels than a photograph has (a decompression bomb).
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:
        raise UserError(f"{where}: claims more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, which is refused") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None


def decode_bytes(data: bytes, where: str | Path) -> np.ndarray:
    """The pixels of an image file's content, as `decode` returns them."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except (cv2.error, MemoryError):
        pixels = None
    if pixels is None:
        raise UserError(f"{where}: not a readable image ({len(data)} bytes); is it damaged?")
    return pixels


def read_image(path: str | Path) -> np.ndarray:
    """Read an 8-bit, 16-bit or float image as float32 (H, W, C), C = 3 (RGB) or 1 (grey).

    Integer images are divided by their full scale; an alpha channel is dropped with a warning.
    Raises UserError as `decode` does, and for other pixel types or values that are not finite.
    """
    pixels = decode(path)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] in (2, 4):
        _warn_of_alpha(path)
        pixels = pixels[..., :-1]
        if not np.ptp(pixels, axis=2).any():  # OpenCV gives grey with alpha as colours
            pixels = pixels[..., :1]
    if pixels.shape[2] == 3:
        pixels = pixels[..., ::-1]
    if pixels.shape[2] not in (1, 3):
        raise UserError(f"{path}: an image of {pixels.shape[2]} channels; grey or RGB is needed")
    if pixels.dtype in FULL_SCALE:
        return pixels.astype(np.float32) / np.float32(FULL_SCALE[pixels.dtype])
    if not np.issubdtype(pixels.dtype, np.floating):
        raise UserError(f"{path}: pixels of type {pixels.dtype}; 8-bit, 16-bit or float is needed")
    if not np.isfinite(pixels).all():
        raise UserError(f"{path}: holds values that are not finite")
    if pixels.max(initial=0) > 2:
        warn(f"{path}: float values up to {pixels.max():g}; images range from 0 to 1, brighter is clipped")
    return pixels.astype(np.float32)


@cache
def _warn_of_alpha(path: str | Path) -> None:
    """Warn once for each file; a training reads it again and again."""
    warn(f"{path}: the alpha channel is dropped")


def to_8bit(image: np.ndarray) -> np.ndarray:
    """Clamp to [0, 1] and round to uint8, same shape."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or 3) as (H, W, 3)."""
    return np.broadcast_to(image, (*image.shape[:2], 3))


def write_8bit(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image (H, W, 3) RGB or (H, W, 1) grey; the suffix names the format.

    Raises UserError for a suffix that names no format.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: the name of an image ends in {', '.join(IMAGE_SUFFIXES)}")
    pixels = image[..., ::-1] if image.shape[2] == 3 else image[..., 0]
    # OpenCV gets no path: it crashes at one that is not UTF-8.
    data = cv2.imencode(suffix, np.ascontiguousarray(pixels))[1].tobytes()
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def list_images(folder: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The image files of a folder, sorted by name. Raises UserError if there is none, or a name that is not UTF-8."""
    folder = Path(folder)
    if not folder.is_dir():
        inside = folder.absolute().is_relative_to(ROOT / "Datasets")
        hint = "; make it with codes/scripts/prepare_datasets.py (Datasets/README.md)" if inside else ""
        raise UserError(f"{folder}: no such folder{hint}")
    named = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    files = sorted(path for path in named if path.is_file())
    if not files:
        raise UserError(f"{folder}: holds no {', '.join(suffixes)} files")
    for path in files:
        if re.search("[\ud800-\udfff]", path.name):  # Python's stand-ins for bytes that are not UTF-8
            raise UserError(f"{folder}: rename {path.name!r}; the names of images have to be UTF-8")
    return files
