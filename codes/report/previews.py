"""Previews of images as data URIs: reduced and lossy, with a limit for their bytes."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from codes.data.images import read_image, to_8bit
from codes.data.kernels import read_kernel, to_8bit_kernel
from codes.utils.errors import UserError, warn

# How a preview can be encoded, from the best to the smallest: pixels of the longer side, and WebP quality (0 to 100).
FORMS = ((1600, 92), (1024, 85), (1024, 65), (800, 55), (640, 50), (512, 45), (400, 40), (320, 36), (240, 32))


class Previews(NamedTuple):
    """The pictures of one image: an index for each version and the kernel, None where there is no picture."""

    versions: tuple[int | None, ...]
    kernel: int | None
    size: tuple[int, int] | None  # width and height of the full-size image


class Album:
    """The distinct pictures, as data URIs, of `count` images in at most `limit` bytes.

    Every image gets an equal share of the bytes that are left, and all its versions get the best form that fits.
    """

    def __init__(self, limit: int, count: int):
        self._left, self._count = limit, count
        self._form = 0
        self._indices: dict[str, int] = {}

    @property
    def pictures(self) -> list[str]:
        return list(self._indices)

    def add(self, files: Sequence[Path | None], kernel: Path | None) -> Previews | None:
        """Add an image's versions and its kernel. Returns None, and adds nothing, if the bytes that are left do not
        suffice. An unreadable file is skipped with a warning."""
        images = [_read(path) for path in files]
        share = self._left / max(self._count, 1)
        self._form = max(self._form - 1, 0)  # mostly the form of the image before, or the next better one
        shape = _kernel(kernel)
        uris = [*(_webp(image, *FORMS[self._form]) for image in images), shape]
        while self._cost(uris) > share and self._form < len(FORMS) - 1:
            self._form += 1
            uris = [*(_webp(image, *FORMS[self._form]) for image in images), shape]
        if self._cost(uris) > self._left:
            return None
        self._left -= self._cost(uris)
        self._count -= 1
        indices = [uri and self._indices.setdefault(uri, len(self._indices)) for uri in uris]
        size = next(((image.shape[1], image.shape[0]) for image in images if image is not None), None)
        return Previews(tuple(indices[:-1]), indices[-1], size)

    def _cost(self, uris: Sequence[str | None]) -> int:
        return sum(map(len, {uri for uri in uris if uri} - self._indices.keys()))


def _read(path: Path | None) -> np.ndarray | None:
    """The 8-bit pixels (H, W, C); None, with a warning, for a file that cannot be read."""
    try:
        return to_8bit(read_image(path)) if path else None
    except UserError as error:
        warn(str(error))
        return None


def _webp(pixels: np.ndarray | None, side: int, quality: int) -> str | None:
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return _uri(pixels, "webp", [cv2.IMWRITE_WEBP_QUALITY, quality])


def _kernel(path: Path | None) -> str | None:
    try:
        return _uri(to_8bit_kernel(read_kernel(path)), "png") if path else None
    except UserError as error:
        warn(str(error))
        return None


def _uri(pixels: np.ndarray, kind: str, parameters: Sequence[int] = ()) -> str:
    """(H, W), (H, W, 1) or (H, W, 3) RGB, uint8 -> a data URI."""
    stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    encoded = cv2.imencode(f".{kind}", np.ascontiguousarray(stored), list(parameters))[1]
    return f"data:image/{kind};base64,{b64encode(encoded).decode()}"
