"""The results of a run of codes/test.py: its options, summary and scores, and the paths of its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codes.metrics.evaluation import ImageScore, restored_path
from codes.metrics.run import COMPLETE, open_set
from codes.metrics.score_files import read_scores
from codes.options import TestOptions, TestSet, load_options
from codes.utils.errors import UserError, warn
from codes.utils.files import read_csv


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
class Run:
    """A finished run in `folder`. labels: the names of the versions that every image has."""

    folder: Path
    options: TestOptions
    summary: Sequence[Mapping[str, str]]
    labels: tuple[str, ...]
    images: tuple[RunImage, ...]


def read_run(folder: Path) -> Run:
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
    return Run(folder, options, summary, labels, tuple(images))


def _sources(test_set: TestSet) -> dict[str, tuple[Path, Path, Path]]:
    """Image -> paths of its ground truth, blurry image and kernel; {} if the set's folders have changed."""
    try:
        dataset = open_set(test_set)
    except UserError as error:
        warn(f"{test_set.name} without ground truths, blurry images and kernels: {error}")
        return {}
    return {dataset.name(index): paths for index, paths in enumerate(dataset.paths)}
