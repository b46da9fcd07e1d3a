"""Write results/<name>/report.html: a run's tables, scores and images in one file to look through.

    python codes/scripts/make_report.py table2 table3

The file holds previews of the images, so that it can be passed on alone; they are reduced until they fit into 20 MB.
It links to the full-size images.
"""

import argparse
import os
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2
import jinja2
import numpy as np
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import read_image, to_8bit
from codes.data.kernels import read_kernel, to_8bit_kernel
from codes.evaluation.evaluator import ImageScore, read_scores, restored_path
from codes.evaluation.run import COMPLETE, open_set
from codes.evaluation.tables import arrange
from codes.options import TestOptions, TestSet, dump_options, load_options
from codes.utils.errors import UserError, run_command_line, warn
from codes.utils.files import ROOT, read_csv, write_text

PREVIEW_BYTES = 20_000_000  # limit for all previews of a report
# How previews can be stored, from the best to the smallest: pixels of the longer side, and WebP quality (0 to 100).
FORMS = ((1600, 92), (1024, 85), (1024, 65), (640, 50), (400, 40), (240, 32))

TEMPLATE = Path(__file__).with_name("report.html")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a run below results/")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        target = arguments.results.absolute() / name / "report.html"
        write_text(target, build(target.parent))
        print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


@dataclass(frozen=True)
class RunImage:
    """An image of a run, its kernel's file, and a file and a score of each version: None where there is none."""

    name: str
    kernel: Path | None
    files: Sequence[Path | None]
    scores: Sequence[ImageScore | None]


def build(folder: Path, preview_bytes: int = PREVIEW_BYTES) -> str:
    """The report of results/<name> as HTML. Raises UserError if the folder holds no finished run."""
    if not all((folder / name).is_file() for name in (COMPLETE, "summary.csv")):
        raise UserError(f"{folder}: no finished run; first: python codes/test.py -opt FILE")
    options, summary = load_options(TestOptions, folder / COMPLETE), read_csv(folder / "summary.csv")
    # The summary leaves out methods whose weights were missing. The method that returns its input is the input.
    rows = {row["method"]: options.rows()[row["method"]].network_G.which_model_G for row in summary}
    blurry = next((method for method, network in rows.items() if network == "Blurry"), None)
    methods = [blurry, *(method for method, network in rows.items() if network != "Blurry")]
    labels = ["Blurry input", *(options.labels()[method] for method in methods[1:]), "Ground truth"]
    images = run_images(folder, options, methods)
    limit = preview_bytes / max(len(images), 1)
    data = [page_data(image, folder, limit) for image in tqdm(images, desc="previews", unit="image")]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        options=options,
        dump=dump_options(options),
        tables=arrange(summary),
        images=images,
        previewed=sum(any(entry["pictures"]) for entry in data),
        data={"labels": labels, "images": data},
    )


def run_images(folder: Path, options: TestOptions, methods: Sequence[str | None]) -> list[RunImage]:
    """The images that have a score. Versions: the input, with the scores of the first method, the others, the truth."""
    folders = {method: folder / method if options.methods else folder for method in methods if method}
    scores = {method: {score.key(): score for score in read_scores(own)} for method, own in folders.items()}
    images = []
    for test_set in options.datasets.values():
        sources = sources_of(test_set)
        for key in sorted({key for found in scores.values() for key in found if key[0] == test_set.name}):
            truth, blurry, kernel = sources.get(key[1], (None, None, None))
            restored = [restored_path(folders[method] / key[0], key[1], options.suffix) for method in methods[1:]]
            files = [blurry, *(path if path.is_file() else None for path in restored), truth]
            found = [scores.get(method, {}).get(key) for method in methods]
            images.append(RunImage(" / ".join(key), kernel, files, found))
    return images


def sources_of(test_set: TestSet) -> dict[str, tuple[Path, Path, Path]]:
    """Image -> paths of its ground truth, blurry image and kernel; {}, with a warning, if the set has changed."""
    try:
        dataset = open_set(test_set)
    except UserError as error:
        warn(f"{test_set.name} without ground truths, blurry images and kernels: {error}")
        return {}
    return {dataset.name(index): paths for index, paths in enumerate(dataset.paths)}


def page_data(image: RunImage, folder: Path, limit: float) -> dict[str, object]:
    """What the page needs to show an image. Its previews have the first of FORMS that needs at most `limit` bytes."""
    pixels = [path and read_8bit(path) for path in image.files]
    for form in FORMS:
        pictures = [None if found is None else webp(found, *form) for found in pixels]
        if sum(len(picture or "") for picture in pictures) <= limit:
            break
    else:
        pictures = [None] * len(pixels)
    return {
        "name": image.name,
        "pictures": pictures,
        "kernel": image.kernel and data_uri("png", to_8bit_kernel(read_kernel(image.kernel))),
        "links": [path and quote(os.fsencode(os.path.relpath(path, folder))) for path in image.files],
    }


def read_8bit(path: Path) -> np.ndarray | None:
    """The 8-bit pixels (H, W, C); None, with a warning, for a file that cannot be read."""
    try:
        return to_8bit(read_image(path))
    except UserError as error:
        warn(str(error))
        return None


def webp(pixels: np.ndarray, side: int, quality: int) -> str:
    """8-bit pixels (H, W, C), reduced to `side` pixels at most."""
    scale = min(1, side / max(pixels.shape))
    reduced = cv2.resize(pixels[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # OpenCV has BGR
    return data_uri("webp", reduced, cv2.IMWRITE_WEBP_QUALITY, quality)


def data_uri(kind: str, pixels: np.ndarray, *parameters: int) -> str:
    """Pixels in OpenCV's order of channels as an image inside the page."""
    encoded = cv2.imencode(f".{kind}", pixels, parameters)[1]
    return f"data:image/{kind};base64,{b64encode(encoded).decode()}"


if __name__ == "__main__":
    sys.exit(run_command_line(main))
