"""Previews of images as data URIs: reduced and lossy, never more than a given number of bytes."""

import os
from base64 import b64encode
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from codes.data.images import read_image, to_8bit
from codes.data.kernels import read_kernel, to_8bit_kernel
from codes.utils.errors import UserError, warn


class Form(NamedTuple):
    """How a preview is encoded: the pixels of its longer side at most, the quality of the WebP (0 to 100)."""

    side: int
    quality: int


FORMS = (
    Form(1600, 92),
    Form(1280, 88),
    Form(1024, 85),
    Form(1024, 75),
    Form(1024, 60),
    Form(800, 55),
    Form(640, 50),
    Form(560, 48),
    Form(512, 45),
    Form(440, 42),
    Form(400, 40),
    Form(360, 38),
    Form(320, 36),
    Form(280, 34),
    Form(240, 32),
)
"""From the best to the smallest."""
_REFERENCE = 24
"""Upper bound of the bytes that a picture's index, or an image's size, takes in the page's data."""


class Previews(NamedTuple):
    """An image's previews: the index of each version's and the kernel's picture (None where there is none)."""

    versions: tuple[int | None, ...]
    kernel: int | None
    size: tuple[int, int] | None
    """width and height of the full-size image"""


class Album:
    """Distinct pictures, as data URIs, of `count` images in `room` bytes at most.

    Each image in turn has its share of the room that is left, and all its versions the best form
    that fits there. Where not even the smallest form does, the album takes images until it is full.
    """

    def __init__(self, room: int, count: int):
        self._room = room
        self._count = count
        self._form = 0
        self._indices: dict[str, int] = {}
        # OpenCV works outside the interpreter's lock.
        self._pool = ThreadPoolExecutor(os.cpu_count())

    @property
    def pictures(self) -> list[str]:
        return list(self._indices)

    def add(self, files: Sequence[Path | None], kernel: Path | None) -> Previews | None:
        """Take an image's versions and its kernel; None, and nothing taken, where there is no room for them.

        A file that cannot be read is warned of and left out.
        """
        images = list(self._pool.map(_read, files))
        shape = _kernel(kernel)
        share = self._room / max(self._count, 1)
        # The form of the image before, or the next better, will mostly be it.
        self._form = max(self._form - 1, 0)
        uris = [*self._encoded(images), shape]
        while self._cost(uris) > share and self._form < len(FORMS) - 1:
            self._form += 1
            uris = [*self._encoded(images), shape]
        if self._cost(uris) > self._room:
            return None
        self._room -= self._cost(uris)
        self._count -= 1
        indices = [uri and self._indices.setdefault(uri, len(self._indices)) for uri in uris]
        size = next(((image.shape[1], image.shape[0]) for image in images if image is not None), None)
        return Previews(tuple(indices[:-1]), indices[-1], size)

    def _encoded(self, images: Sequence[np.ndarray | None]) -> Iterable[str | None]:
        return self._pool.map(lambda image: _webp(image, FORMS[self._form]), images)

    def _cost(self, uris: Sequence[str | None]) -> int:
        new = {uri for uri in uris if uri} - self._indices.keys()
        return sum(len(uri) + len('"",') for uri in new) + _REFERENCE * (len(uris) + 1)


def _read(path: Path | None) -> np.ndarray | None:
    """The 8-bit pixels (H, W, C); None, with a warning, for what cannot be read."""
    try:
        return to_8bit(read_image(path)) if path else None
    except UserError as error:
        warn(str(error))
        return None


def _webp(pixels: np.ndarray | None, form: Form) -> str | None:
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    scale = form.side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return _uri(pixels, "webp", [cv2.IMWRITE_WEBP_QUALITY, form.quality])


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
