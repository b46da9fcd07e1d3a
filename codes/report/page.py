"""The report's page: a template, its style and scripts, and the run's data, in one HTML text."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, zip_longest
from pathlib import Path, PurePath
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from tqdm import tqdm

from codes.metrics.evaluation import ImageScore
from codes.metrics.tables import arrange, text_heads, text_rows
from codes.options import dump_options
from codes.report.previews import Album
from codes.report.run import Run, RunImage
from codes.utils.errors import UserError

LIMIT = 25_000_000
"""Bytes of a report at most, whatever the run's size."""
LIST_ROOM = LIMIT // 5
"""Bytes of them at most for the list of images."""
_SLACK = 1000
"""Bytes kept for the words that tell how many images have previews."""
SOURCES = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(SOURCES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":")}


def build(run: Run, limit: int = LIMIT, list_room: int = LIST_ROOM) -> str:
    """The report of a run, of at most `limit` bytes in UTF-8.

    Of a large run the previews are small; of a very large one there are previews, or even scores,
    for a part of the images, spread over the sets, and the page says so.
    Raises UserError where the tables and options alone are too long.
    """
    listed = list(_listed(run, list_room))
    data = {
        "methods": [run.options.labels()[method] for method in run.methods],
        "versions": [{"label": version.label, "method": version.method} for version in run.versions],
        "sets": [test_set.name for test_set in run.options.datasets.values()],
    }
    images = [row for _, row in listed]
    bare = _render(run, data | {"images": images}, [], 0)
    album = Album(limit - len(bare.encode()) - _SLACK, len(listed))
    previewed = _preview(listed, album)
    images.sort(key=lambda row: (row["set"], row["name"]))
    page = _render(run, data | {"images": images}, album.pictures, previewed)
    if len(page.encode()) > limit:
        raise UserError(f"{run.folder}: its tables and options alone are longer than a report of {limit} bytes can be")
    return page


def _preview(listed: Sequence[tuple[RunImage, dict]], album: Album) -> int:
    """Fill `album`, and the rows' references to its pictures; returns how many images have previews."""
    for n, (image, row) in enumerate(tqdm(listed, desc="previews", unit=" images")):
        previews = album.add(image.files, image.kernel)
        if previews is None:
            return n
        row |= {"pictures": previews.versions, "kernel": previews.kernel, "size": previews.size}
    return len(listed)


def _listed(run: Run, room: int) -> Iterator[tuple[RunImage, dict]]:
    """The images with their rows of the page's data, spread over the sets, as long as there is room."""
    sets = {test_set.name: n for n, test_set in enumerate(run.options.datasets.values())}
    for image in _spread(run.images):
        row = {
            "set": sets[image.set],
            "name": image.name,
            "scores": [score and _figures(score) for score in image.scores],
            "links": [path and _link(path, run.folder) for path in image.files],
        }
        room -= len(json.dumps(row))
        if room < 0:
            return
        yield image, row


def _spread(images: Iterable[RunImage]) -> Iterator[RunImage]:
    """The first image of each set, then the second of each, and so on."""
    of_sets: dict[str, list[RunImage]] = {}
    for image in images:
        of_sets.setdefault(image.set, []).append(image)
    return (image for image in chain.from_iterable(zip_longest(*of_sets.values())) if image is not None)


def _figures(score: ImageScore) -> list[float | str]:
    """PSNR, SSIM, seconds; JSON has no number for the infinite PSNR of equal images."""
    psnr = score.psnr if math.isfinite(score.psnr) else "Infinity"
    return [psnr, round(score.ssim, 4), score.seconds]


def _link(path: Path, folder: Path) -> str | None:
    """The URL of a file, relative to the report's folder; None from one drive to another."""
    try:
        relative = PurePath(os.path.relpath(path, folder))
    except ValueError:
        return None
    return quote(os.fsencode(relative.as_posix()))


def _render(run: Run, data: dict, pictures: list[str], previewed: int) -> str:
    measured = datetime.fromtimestamp((run.folder / "summary.csv").stat().st_mtime)
    return _ENVIRONMENT.get_template("report.html").render(
        name=run.options.name,
        measured=measured,
        made=datetime.now(),
        sets=len({image.set for image in run.images}),
        images=len(run.images),
        listed=len(data["images"]),
        previewed=previewed,
        methods=[run.options.labels()[method] for method in run.methods],
        tables=[(table, text_heads(table)[1:], text_rows(table)) for table in arrange(run.summary)],
        options=dump_options(run.options),
        max_images=run.options.max_images,
        style=_source("report.css"),
        scripts=[_source(name) for name in ("list.js", "viewer.js")],
        data=data,
        pictures=pictures,
    )


def _source(name: str) -> Markup:
    return Markup((SOURCES / name).read_text(encoding="utf-8"))
