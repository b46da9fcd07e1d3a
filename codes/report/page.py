"""The report's page: a template, its style and scripts, and the run's data, in one HTML text."""

import math
import os
from collections.abc import Sequence
from datetime import datetime
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

PREVIEW_BYTES = 20_000_000  # limit for all previews of a report
SOURCES = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(SOURCES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":")}


def build(run: Run, preview_bytes: int = PREVIEW_BYTES) -> str:
    """The report of a run as HTML. The more images there are, the smaller are their previews."""
    sets = [test_set.name for test_set in run.options.datasets.values()]
    rows = [_row(image, sets, run.folder) for image in run.images]
    album = Album(preview_bytes, len(rows))
    for image, row in zip(tqdm(run.images, desc="previews", unit=" images"), rows, strict=True):
        previews = album.add(image.files, image.kernel)
        if previews is not None:
            row |= {"pictures": previews.versions, "kernel": previews.kernel, "size": previews.size}
    versions = [{"label": version.label, "method": version.method} for version in run.versions]
    data = {"methods": run.labels, "versions": versions, "sets": sets, "images": rows}
    return _render(run, data, album.pictures)


def _row(image: RunImage, sets: Sequence[str], folder: Path) -> dict:
    """An image's entry in the page's data."""
    return {
        "set": sets.index(image.set),
        "name": image.name,
        "scores": [score and _figures(score) for score in image.scores],
        "links": [path and _link(path, folder) for path in image.files],
    }


def _figures(score: ImageScore) -> list[float | str]:
    """PSNR, SSIM, seconds. Equal images have an infinite PSNR, for which JSON has no number."""
    psnr = score.psnr if math.isfinite(score.psnr) else "Infinity"
    return [psnr, round(score.ssim, 4), score.seconds]


def _link(path: Path, folder: Path) -> str | None:
    """The URL of a file relative to the report's folder; None if it is on another drive."""
    try:
        relative = PurePath(os.path.relpath(path, folder))
    except ValueError:
        return None
    return quote(os.fsencode(relative.as_posix()))


def _render(run: Run, data: dict, pictures: list[str]) -> str:
    return _ENVIRONMENT.get_template("report.html").render(
        name=run.options.name,
        measured=datetime.fromtimestamp((run.folder / "summary.csv").stat().st_mtime),
        made=datetime.now(),
        sets=len({image.set for image in run.images}),
        images=len(run.images),
        previewed=sum("pictures" in row for row in data["images"]),
        methods=run.labels,
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
