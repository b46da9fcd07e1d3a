"""The report of a run: one HTML file with its tables, the scores of every image, and previews to compare."""

import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import cv2
import jinja2
import numpy as np
from tqdm import tqdm

from codes.data.images import read_image, to_8bit
from codes.data.kernels import read_kernel, to_8bit_kernel
from codes.metrics.evaluation import ImageScore, restored_path
from codes.metrics.run import COMPLETE, open_set
from codes.metrics.score_files import read_scores
from codes.metrics.tables import arrange, text_heads, text_rows
from codes.options import TestOptions, TestSet, dump_options, load_options
from codes.utils.errors import UserError, warn
from codes.utils.files import read_csv

PREVIEW_BYTES = 20_000_000  # limit for all previews of a report
# How a preview can be stored, from the best to the smallest: pixels of the longer side, and WebP quality (0 to 100).
FORMS = ((1600, 92), (1024, 85), (1024, 65), (800, 55), (640, 50), (512, 45), (400, 40), (320, 36), (240, 32))
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Version:
    """One version of an image: blurry, restored by a method, or sharp. None where there is no file or no score."""

    file: Path | None
    score: ImageScore | None = None


@dataclass(frozen=True)
class RunImage:
    """One image of a run, in all versions, and its kernel's file."""

    set: str
    name: str
    versions: tuple[Version, ...]
    kernel: Path | None


@dataclass(frozen=True)
class Report:
    """A finished run in `folder`. labels: the names of the versions that every image has."""

    folder: Path
    options: TestOptions
    summary: Sequence[Mapping[str, str]]
    labels: tuple[str, ...]
    images: tuple[RunImage, ...]


def read_report(folder: Path) -> Report:
    """Read results/<name>. Raises UserError if it holds no finished run.

    The images of a set whose folders have changed since are left out, with a warning.
    """
    if not all((folder / name).is_file() for name in (COMPLETE, "summary.csv")):
        raise UserError(f"{folder}: no finished run; first: python codes/test.py -opt FILE")
    options = load_options(TestOptions, folder / COMPLETE)
    summary = read_csv(folder / "summary.csv")
    # The summary leaves out methods whose weights were missing.
    methods = list(dict.fromkeys(row["method"] for row in summary))
    folders = {method: folder / method if options.methods else folder for method in methods}
    scores = {method: {score.key(): score for score in read_scores(own)} for method, own in folders.items()}
    # The method that returns its input is shown as the input.
    blurry = {m for m in methods if options.rows()[m].network_G.which_model_G == "Blurry"}
    methods = [method for method in methods if method not in blurry]
    images = []
    for test_set in options.datasets.values():
        sources = _sources(test_set)
        keys = {key for of_method in scores.values() for key in of_method if key[0] == test_set.name}
        for key in sorted(keys):
            truth, source, kernel = sources.get(key[1], (None, None, None))
            versions = [Version(source, next((scores[method].get(key) for method in blurry), None))]
            for method in methods:
                path = restored_path(folders[method] / key[0], key[1], options.suffix)
                versions.append(Version(path if path.is_file() else None, scores[method].get(key)))
            images.append(RunImage(*key, (*versions, Version(truth)), kernel))
    labels = ("Blurry input", *(options.labels()[method] for method in methods), "Ground truth")
    return Report(folder, options, summary, labels, tuple(images))


def _sources(test_set: TestSet) -> dict[str, tuple[Path, Path, Path]]:
    """Image -> paths of its ground truth, blurry image and kernel; {} if the set's folders have changed."""
    try:
        dataset = open_set(test_set)
    except UserError as error:
        warn(f"{test_set.name} without ground truths, blurry images and kernels: {error}")
        return {}
    return {dataset.name(index): paths for index, paths in enumerate(dataset.paths)}


def build(report: Report, preview_bytes: int = PREVIEW_BYTES) -> str:
    """The report of a run as HTML. The more images there are, the smaller are their previews."""
    limit, data, form = preview_bytes / max(len(report.images), 1), [], 0
    for image in tqdm(report.images, desc="previews", unit="image"):
        entry, form = _previews(image, report.folder, limit, max(form - 1, 0))
        data.append(entry)
    return _ENVIRONMENT.get_template("report.html").render(
        report=report,
        made=datetime.now(),
        tables=[(table, text_heads(table)[1:], text_rows(table)) for table in arrange(report.summary)],
        options=dump_options(report.options),
        previewed=sum(any(entry["pictures"]) for entry in data),
        data={"labels": report.labels, "images": data},
    )


def _previews(image: RunImage, folder: Path, limit: float, form: int) -> tuple[dict, int]:
    """What the page needs to show an image, and the form of its previews.

    The forms from `form` on are tried until all versions need at most `limit` bytes. If none is small enough, there
    are no previews.
    """
    files = [version.file for version in image.versions]
    pixels = [path and _read(path) for path in files]
    shape = next((found.shape for found in pixels if found is not None), (1, 1))
    while True:
        pictures = [None if found is None else _webp(found, *FORMS[form]) for found in pixels]
        fits = sum(len(picture or "") for picture in pictures) <= limit
        if fits or form == len(FORMS) - 1:
            break
        form += 1
    entry = {
        "name": f"{image.set} / {image.name}",
        "size": [shape[1], shape[0]],
        "pictures": pictures if fits else [None] * len(files),
        "kernel": image.kernel and _kernel(image.kernel),
        "links": [path and quote(os.fsencode(os.path.relpath(path, folder))) for path in files],
    }
    return entry, form


def _read(path: Path) -> np.ndarray | None:
    """The 8-bit pixels (H, W, C); None, with a warning, for a file that cannot be read."""
    try:
        return to_8bit(read_image(path))
    except UserError as error:
        warn(str(error))
        return None


def _webp(pixels: np.ndarray, side: int, quality: int) -> str:
    """8-bit pixels (H, W, C) as a data URI, reduced to `side` pixels at most."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    stored = np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels  # OpenCV has BGR
    return _uri(cv2.imencode(".webp", stored, [cv2.IMWRITE_WEBP_QUALITY, quality])[1], "webp")


def _kernel(path: Path) -> str:
    return _uri(cv2.imencode(".png", to_8bit_kernel(read_kernel(path)))[1], "png")


def _uri(encoded: np.ndarray, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(encoded).decode()}"
