"""The results of a run of codes/test.py: its options, summary and scores, and the paths of its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codes.metrics.evaluation import ImageScore, restored_path
from codes.metrics.run import COMPLETE, open_set
from codes.metrics.score_files import read_scores
from codes.metrics.tables import SUMMARY_COLUMNS
from codes.options import TestOptions, TestSet, load_options
from codes.utils.errors import UserError, warn
from codes.utils.files import read_csv


@dataclass(frozen=True)
class Version:
    """One of the images to compare: its label, and the index of the method whose scores belong to it, if any."""

    label: str
    method: int | None


@dataclass(frozen=True)
class RunImage:
    """One image of a run: its score by every method, its file in every version, its kernel; None if missing."""

    set: str
    name: str
    scores: tuple[ImageScore | None, ...]
    files: tuple[Path | None, ...]
    kernel: Path | None


@dataclass(frozen=True)
class Run:
    """A finished run in `folder`.

    labels: the methods' names. Every image has a score for each method and a file for each of `versions`.
    """

    folder: Path
    options: TestOptions
    summary: Sequence[Mapping[str, str]]
    labels: tuple[str, ...]
    versions: tuple[Version, ...]
    images: tuple[RunImage, ...]


def read_run(folder: Path) -> Run:
    """Read results/<name>. Raises UserError if it holds no finished run.

    Missing images are left out. A set without ground truths, blurry images and kernels gives a warning.
    """
    if not all((folder / name).is_file() for name in (COMPLETE, "summary.csv")):
        raise UserError(f"{folder}: no finished run; first: python codes/test.py -opt FILE")
    options = load_options(TestOptions, folder / COMPLETE)
    summary = read_csv(folder / "summary.csv")
    if summary and summary[0].keys() != set(SUMMARY_COLUMNS):
        raise UserError(f"{folder / 'summary.csv'}: the columns are those of another version; run it again")
    # Not options.rows(): methods whose weights were missing have no results, or those of an older run.
    methods = tuple(dict.fromkeys(row["method"] for row in summary))
    order = [test_set.name for test_set in options.datasets.values()]
    if not methods or not set(methods) <= set(options.rows()) or not {row["set"] for row in summary} <= set(order):
        raise UserError(f"{folder}: summary.csv and options.yml name different methods or sets; run it again")
    folders = [folder / method if options.methods else folder for method in methods]
    scores = [_scores(own, order) for own in folders]
    keys = sorted({key for of_method in scores for key in of_method}, key=lambda key: (order.index(key[0]), key[1]))
    sources = {test_set.name: _sources(test_set) for test_set in options.datasets.values()}
    # The method that returns its input is shown as the input, not twice.
    restoring = [i for i, method in enumerate(methods) if options.rows()[method].network_G.which_model_G != "Blurry"]
    blurry = next((i for i in range(len(methods)) if i not in restoring), None)
    labels = tuple(options.labels()[method] for method in methods)
    versions = [Version("Blurry input", blurry), *(Version(labels[i], i) for i in restoring)]
    images = []
    for set_name, name in keys:
        truth, source, kernel = sources[set_name].get(name, (None, None, None))
        restored = [restored_path(folders[i] / set_name, name, options.suffix) for i in restoring]
        files = (source, *(path if path.is_file() else None for path in restored), truth)
        own_scores = tuple(of_method.get((set_name, name)) for of_method in scores)
        images.append(RunImage(set_name, name, own_scores, files, kernel))
    return Run(folder, options, summary, labels, (*versions, Version("Ground truth", None)), tuple(images))


def _scores(folder: Path, sets: Sequence[str]) -> dict[tuple[str, str], ImageScore]:
    """(set, image) -> score, for the given sets."""
    if not (folder / "per_image.csv").is_file():
        raise UserError(f"{folder / 'per_image.csv'}: no such file; run the method again")
    return {score.key(): score for score in read_scores(folder) if score.set in sets}


def _sources(test_set: TestSet) -> dict[str, tuple[Path, Path, Path]]:
    """Image -> paths of its ground truth, blurry image and kernel; {} if the set's folders have changed."""
    try:
        dataset = open_set(test_set)
    except UserError as error:
        warn(f"{test_set.name} without ground truths, blurry images and kernels: {error}")
        return {}
    return {dataset.name(index): paths for index, paths in enumerate(dataset.paths)}
