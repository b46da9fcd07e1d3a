"""What a run of codes/test.py left: its options, summary, scores, and where its images lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codes.data.triples import TripleDataset
from codes.metrics.evaluation import ImageScore, restored_path
from codes.metrics.score_files import read_scores
from codes.metrics.tables import SUMMARY_COLUMNS
from codes.options import TestOptions, TestSet, load_options
from codes.utils.errors import UserError, warn
from codes.utils.files import from_root, read_csv

INPUT, TRUTH = "Blurry input", "Ground truth"


@dataclass(frozen=True)
class Version:
    """One of the images to compare: `label`, and the index of the method it was scored as, if any."""

    label: str
    method: int | None


@dataclass(frozen=True)
class RunImage:
    """One image of a run: its score by every method, its file in every version, its kernel; None where missing."""

    set: str
    name: str
    scores: tuple[ImageScore | None, ...]
    files: tuple[Path | None, ...]
    kernel: Path | None


@dataclass(frozen=True)
class Run:
    """A finished run below `folder`. Every image has a score for each of `methods`, a file for each of `versions`."""

    folder: Path
    options: TestOptions
    summary: Sequence[Mapping[str, str]]
    methods: tuple[str, ...]
    versions: tuple[Version, ...]
    images: tuple[RunImage, ...]


def read_run(folder: Path) -> Run:
    """Read results/<name>. Raises UserError where it holds no finished run.

    Files that are missing are left out: a set's ground truths, blurry images and kernels with a warning.
    """
    if not all((folder / name).is_file() for name in ("options.yml", "summary.csv")):
        raise UserError(f"{folder}: holds no finished run; first: python codes/test.py -opt FILE")
    options = load_options(TestOptions, folder / "options.yml")
    summary = read_csv(folder / "summary.csv")
    if summary and summary[0].keys() != set(SUMMARY_COLUMNS):
        raise UserError(f"{folder / 'summary.csv'}: has other columns than this version writes; run it again")
    # Not options.rows(): methods whose weights were missing have no results, or those of an older run.
    methods = tuple(dict.fromkeys(row["method"] for row in summary))
    order = [test_set.name for test_set in options.datasets.values()]
    if not methods or not set(methods) <= set(options.rows()) or not {row["set"] for row in summary} <= set(order):
        raise UserError(f"{folder}: summary.csv is not of the methods and sets in options.yml; run it again")
    folders = [folder / method if options.methods else folder for method in methods]
    scores = [_scores(own, order) for own in folders]
    keys = sorted({key for of_method in scores for key in of_method}, key=lambda key: (order.index(key[0]), key[1]))
    sources = {test_set.name: _sources(test_set) for test_set in options.datasets.values()}

    # The method that returns its input is shown as that, not twice.
    networks = [options.rows()[method].network_G.which_model_G for method in methods]
    blurry = networks.index("Blurry") if "Blurry" in networks else None
    labels = options.labels()
    restoring = [i for i in range(len(methods)) if i != blurry]
    versions = [Version(INPUT, blurry), *(Version(labels[methods[i]], i) for i in restoring), Version(TRUTH, None)]

    images = []
    for set_name, name in keys:
        truth, source, kernel = sources[set_name].get(name, (None, None, None))
        restored = [restored_path(own / set_name, name, options.suffix) for own in folders]
        restored = [path if path.is_file() else None for path in restored]
        if source is None and blurry is not None:
            source = restored[blurry]
        files = (source, *(restored[i] for i in restoring), truth)
        own_scores = tuple(of_method.get((set_name, name)) for of_method in scores)
        images.append(RunImage(set_name, name, own_scores, files, kernel))
    return Run(folder, options, summary, methods, tuple(versions), tuple(images))


def _scores(folder: Path, sets: Sequence[str]) -> dict[tuple[str, str], ImageScore]:
    """(set, image) -> score, of the given sets."""
    if not (folder / "per_image.csv").is_file():
        raise UserError(f"{folder / 'per_image.csv'}: no such file; run the method again")
    return {score.key(): score for score in read_scores(folder) if score.set in sets}


def _sources(test_set: TestSet) -> dict[str, tuple[Path, Path, Path]]:
    """Image -> (ground truth, blurry, kernel) of a set; {} where its folders are not as they were."""
    try:
        dataset = TripleDataset(*map(from_root, (test_set.dataroot_GT, test_set.dataroot_LQ, test_set.dataroot_KM)))
    except UserError as error:
        warn(f"{test_set.name} without ground truths, blurry images and kernels: {error}")
        return {}
    return {dataset.name(index): paths for index, paths in enumerate(dataset.paths)}
