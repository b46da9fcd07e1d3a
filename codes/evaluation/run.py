"""One run of codes/test.py: methods are evaluated on test sets, and their tables are written."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from codes.data.preparation import ensure_quickstart
from codes.data.triples import TripleDataset
from codes.evaluation.evaluator import (
    ERRORS,
    Evaluator,
    ImageScore,
    add_to_journal,
    read_scores,
    restored_path,
    write_scores,
)
from codes.evaluation.tables import ROW_COLUMNS, SUMMARY_COLUMNS, arrange, summarise, to_latex, to_markdown
from codes.models.factory import open_network
from codes.models.network import Network
from codes.options import Method, TestOptions, TestSet, dump_options
from codes.utils.errors import warn
from codes.utils.files import from_root, write_csv, write_text
from codes.utils.processes import Processes
from codes.utils.yaml_files import read_yaml, to_yaml

# A test set and its files.
OpenSet = tuple[TestSet, TripleDataset]

# Written last and removed first: its presence marks a complete run.
COMPLETE = "options.yml"


def open_sets(sets: Iterable[TestSet], group: Processes) -> list[OpenSet]:
    """The sets with their files. The embedded sets are made first if they are not there."""
    sets = list(sets)
    if group.is_main:
        for test_set in sets:
            if test_set.embedded:
                ensure_quickstart(from_root(test_set.dataroot_GT).parent)
    group.barrier()
    return [(test_set, open_set(test_set)) for test_set in sets]


def open_set(test_set: TestSet) -> TripleDataset:
    """The files of one set. Raises UserError if a folder is missing or the files do not pair up."""
    roots = (test_set.dataroot_GT, test_set.dataroot_LQ, test_set.dataroot_KM)
    return TripleDataset(*map(from_root, roots), rotate_kernels=test_set.kernel_convention == "convolution")


def open_method(method: Method) -> Network:
    """The network of a method with its weights, in eval mode."""
    return open_network(method.network_G, method.path.pretrain_model_G, method.path.strict_load)


def is_missing(name: str, method: Method, group: Processes) -> bool:
    """True, with a warning, if a method's weight file is not there; its row is then left out."""
    path = method.path.pretrain_model_G
    missing = path is not None and not from_root(path).is_file()
    if missing and group.is_main:
        shipped = from_root(path).is_relative_to(from_root("Models"))
        hint = " (Models/README.md says where to get it)" if shipped else ""
        warn(f"{name} is left out: {path} does not exist{hint}")
    return missing


def finished_scores(
    folder: Path, method: Method, options: TestOptions, sets: Sequence[OpenSet], group: Processes, resume: bool
) -> list[ImageScore]:
    """The scores that an earlier run of the same method left in `folder`; none without `resume`.

    It is the same method if its network, weights (SHA-256), suffix, crop_border and precision are the same. A score
    counts if its set has the same files (SHA-256), noise level and kernel convention, and its restored image exists.
    """
    done: list[ImageScore] = []
    if group.is_main:
        marker = folder / "method.yml"
        own, own_sets = _identity(method, options), {entry.name: _set_identity(entry, data) for entry, data in sets}
        earlier = read_yaml(marker) if resume and marker.is_file() else None
        if isinstance(earlier, dict) and earlier.get("method") == own:
            same = {name for name, identity in own_sets.items() if earlier["sets"].get(name) == identity}
            scores = [score for score in read_scores(folder) if score.set in same]
            done = [s for s in scores if restored_path(folder / s.set, s.image, options.suffix).is_file()]
        write_scores(folder, done)
        (folder / ERRORS).unlink(missing_ok=True)
        write_text(marker, to_yaml({"method": own, "sets": own_sets}))
    return group.all_of(done)[0]  # the main process's


def _identity(method: Method, options: TestOptions) -> dict[str, object]:
    digest, path = "none", method.path.pretrain_model_G
    if path:
        with open(from_root(path), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        **method.model_dump(by_alias=True, exclude_none=True, exclude={"label"}),
        "weights": digest,
        "suffix": options.suffix,
        "crop_border": options.crop_border,
        "precision": options.precision,
    }


def _set_identity(test_set: TestSet, dataset: TripleDataset) -> dict[str, object]:
    return {"files": dataset.digest(), "noise": test_set.noise_sigma, "kernels": test_set.kernel_convention}


def run_method(
    evaluator: Evaluator, sets: Sequence[OpenSet], max_images: int | None, group: Processes, done: Sequence[ImageScore]
) -> list[ImageScore | str]:
    """Evaluate this process's share of the images that are not in `done`; the main process gets all outcomes."""
    wanted = {
        (test_set.name, dataset.name(index)): (test_set, dataset, index)
        for test_set, dataset in sets
        for index in range(min(len(dataset), max_images or len(dataset)))
    }
    scored = {score.key(): score for score in done if score.key() in wanted}
    own = group.share([item for key, item in wanted.items() if key not in scored])
    outcomes: list[ImageScore | str] = []
    if own:
        evaluator.warm_up(*own[0])
    for item in tqdm(own, desc=evaluator.method, unit="image", disable=not group.is_main):
        outcomes.append(evaluator.evaluate(*item))
        if isinstance(outcomes[-1], ImageScore):
            add_to_journal(evaluator.folder, group.rank, outcomes[-1])
    outcomes = group.gather(outcomes)
    return [*scored.values(), *outcomes] if group.is_main else outcomes


def write_report(
    options: TestOptions, scores: Mapping[str, Sequence[ImageScore]], parameters: Mapping[str, int], folder: Path
) -> None:
    """Write the summary and the tables (Markdown, LaTeX, CSV), and print the tables."""
    order = [test_set.name for test_set in options.datasets.values()]
    by_file = {name: sorted(rows, key=lambda row: order.index(row.set)) for name, rows in scores.items()}
    summary = summarise(by_file, parameters, options.labels())
    write_csv(folder / "summary.csv", summary, SUMMARY_COLUMNS)
    tables = arrange(summary)
    markdown = to_markdown(tables) if tables else "No image could be restored.\n"
    write_text(folder / "table.md", f"# {options.name}\n\n{markdown}")
    write_text(folder / "table.tex", to_latex(tables))
    write_csv(folder / "table.csv", [cell for table in tables for cell in table.cells], ROW_COLUMNS)
    write_text(folder / COMPLETE, dump_options(options))
    print(markdown)
    print(f"Results: {folder}")
