"""Restore and score the test sets of an option file.

    python codes/test.py -opt options/test/light_table2.yml
    torchrun --nproc_per_node 2 codes/test.py -opt options/test/light_table2.yml

Writes results/<name>/: every restored image under <set>/, per_image.csv, summary.csv, table.md
(the paper's arrangement) and options.yml (as resolved). A file of several `methods` has one
such folder for each method, and one summary.csv and table.md for all. With --resume the images
that an earlier, interrupted run of the same method has finished are not restored again.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.preparation import ensure_quickstart
from codes.data.triples import TripleDataset
from codes.metrics.evaluation import COLUMNS, Failure, ImageScore, evaluate_image, restored_path
from codes.metrics.tables import SUMMARY_COLUMNS, markdown_tables, summarise
from codes.models.factory import build_network, load_pretrained
from codes.models.restorer import Restorer, choose_device
from codes.options import Method, TestOptions, TestSet, dump_options, load_options
from codes.utils.errors import run_command_line, warn
from codes.utils.files import ROOT, from_root, read_csv, write_csv, write_text
from codes.utils.processes import Processes, processes


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    arguments = parser.parse_args(argv)
    options = load_options(TestOptions, arguments.opt, arguments.set)
    with processes() as group:
        return test(options, arguments.results / options.name, group, arguments.resume)


def test(options: TestOptions, folder: Path, group: Processes, resume: bool) -> int:
    """Run every method on every set; returns the exit status: 1 where an image failed."""
    datasets = open_datasets(options.datasets, group)
    device = choose_device(options.gpu_ids, group.local_rank)
    scores: dict[str, list[ImageScore]] = {}
    failures: list[Failure] = []
    for name, method in options.rows().items():
        if options.methods and is_missing(name, method, group):
            continue
        network = build_network(method.network_G)
        load_pretrained(network, method.path.pretrain_model_G, method.path.strict_load)
        own_folder = folder / name if options.methods else folder
        done = take_up(own_folder, method, options, group, resume)
        outcomes = run_method(name, Restorer(network, device), options, datasets, own_folder, group, done)
        if group.is_main:
            scores[name] = write_scores(own_folder, outcomes)
            failures += [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if group.is_main:
        report(options, scores, folder)
        for failure in failures:
            print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def open_datasets(sets: Mapping[str, TestSet], group: Processes) -> dict[str, tuple[TestSet, TripleDataset]]:
    """The sets by name; the embedded ones are made on the spot."""
    if group.is_main:
        for test_set in sets.values():
            if test_set.embedded:
                ensure_quickstart(from_root(test_set.dataroot_GT).parent)
    group.barrier()
    return {
        s.name: (s, TripleDataset(from_root(s.dataroot_GT), from_root(s.dataroot_LQ), from_root(s.dataroot_KM)))
        for s in sets.values()
    }


def is_missing(name: str, method: Method, group: Processes) -> bool:
    """Whether a table's row has to be left out, its weights not being there; says so."""
    path = method.path.pretrain_model_G
    missing = path is not None and not from_root(path).is_file()
    if missing and group.is_main:
        warn(f"{name} is left out: {path} is not there (Models/README.md says where to get it)")
    return missing


def take_up(folder: Path, method: Method, options: TestOptions, group: Processes, resume: bool) -> list[ImageScore]:
    """What an earlier run of the same method left in `folder`, if it is to go on; begins anew otherwise.

    The same method: the same network, weights (by their SHA-256), suffix and crop_border. A score
    counts where its restored image is there still.
    """
    path = method.path.pretrain_model_G
    weights = hashlib.sha256(from_root(path).read_bytes()).hexdigest() if path else "none"
    identity = dump_options(method) + f"sha256: {weights}\nsuffix: {options.suffix}\ncrop: {options.crop_border}\n"
    marker, scores = folder / "method.yml", folder / "per_image.csv"
    done = []
    if resume and marker.is_file() and scores.is_file() and marker.read_text(encoding="utf-8") == identity:
        rows = [ImageScore.from_row(row) for row in read_csv(scores)]
        done = [row for row in rows if restored_path(folder / row.set, row.image, options.suffix).is_file()]
    group.barrier()
    if group.is_main:
        write_scores(folder, done)
        write_text(marker, identity)
    return done


def write_scores(folder: Path, outcomes: Iterable[ImageScore | Failure]) -> list[ImageScore]:
    """Write per_image.csv of the images that were scored, and return these in order."""
    scores = sorted(outcome for outcome in outcomes if isinstance(outcome, ImageScore))
    write_csv(folder / "per_image.csv", [score.as_row() for score in scores], COLUMNS)
    return scores


def run_method(
    name: str,
    restorer: Restorer,
    options: TestOptions,
    datasets: Mapping[str, tuple[TestSet, TripleDataset]],
    folder: Path,
    group: Processes,
    done: Sequence[ImageScore],
) -> list[ImageScore | Failure]:
    """Evaluate this process's share of the images not done yet; the main process gets everybody's outcomes.

    Alone, a process that is interrupted leaves the scores that it has in per_image.csv.
    """
    wanted = [
        (test_set, dataset, index)
        for test_set, dataset in datasets.values()
        for index in range(min(len(dataset), options.max_images or len(dataset)))
    ]
    scored = {(score.set, score.image): score for score in done}
    names = [(test_set.name, dataset.name(index)) for test_set, dataset, index in wanted]
    work = [item for item, key in zip(wanted, names, strict=True) if key not in scored]
    kept = [scored[key] for key in names if key in scored]
    outcomes: list[ImageScore | Failure] = []
    try:
        for test_set, dataset, index in tqdm(group.share(work), desc=name, unit=" images", disable=not group.is_main):
            outcome = evaluate_image(
                name,
                restorer,
                dataset,
                index,
                test_set.name,
                folder / test_set.name,
                options.suffix,
                options.crop_border,
                test_set.noise_sigma,
            )
            outcomes.append(outcome)
    except BaseException:
        if group.world_size == 1:
            write_scores(folder, [*kept, *outcomes])
        raise
    return kept + group.gather(outcomes) if group.is_main else group.gather(outcomes)


def report(options: TestOptions, scores: Mapping[str, Sequence[ImageScore]], folder: Path) -> None:
    """Write the summary and the tables, and print the tables."""
    order = [test_set.name for test_set in options.datasets.values()]
    by_file = {name: sorted(rows, key=lambda row: order.index(row.set)) for name, rows in scores.items()}
    summary = summarise(by_file)
    write_csv(folder / "summary.csv", summary, SUMMARY_COLUMNS)
    write_text(folder / "options.yml", dump_options(options))
    tables = markdown_tables(summary) if summary else "No image could be restored.\n"
    write_text(folder / "table.md", f"# {options.name}\n\n{tables}")
    print(tables)
    print(f"Results: {folder}")


if __name__ == "__main__":
    sys.exit(run_command_line(main))
