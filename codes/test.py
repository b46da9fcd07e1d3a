"""Restore and score the test sets of an option file.

    python codes/test.py -opt options/test/light_table2.yml
    torchrun --nproc_per_node 2 codes/test.py -opt options/test/light_table2.yml

Writes results/<name>/: every restored image under <set>/, per_image.csv, summary.csv, the paper's
arrangement in table.md, table.tex and table.csv, and options.yml (as resolved). A file of several
`methods` has one such folder for each method, and one summary and table for all. With --resume the images
that an earlier, interrupted run of the same method has finished are not restored again.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.preparation import ensure_quickstart
from codes.data.triples import TripleDataset
from codes.metrics.evaluation import Failure, ImageScore, evaluate_image, restored_path
from codes.metrics.score_files import Journal, read_scores, write_scores
from codes.metrics.tables import ROW_COLUMNS, SUMMARY_COLUMNS, arrange, summarise, to_latex, to_markdown, to_rows
from codes.models.factory import build_network, load_pretrained
from codes.models.restorer import Restorer, choose_device
from codes.options import Method, TestOptions, TestSet, dump_options, load_options
from codes.utils.errors import run_command_line, warn
from codes.utils.files import ROOT, from_root, write_csv, write_text
from codes.utils.processes import Processes, processes
from codes.utils.yaml_files import to_yaml

Datasets = Mapping[str, tuple[TestSet, TripleDataset]]
"""The test sets by name."""


COMPLETE = "options.yml"
"""Of the files of a run, the one that is written last and removed first: it marks a run that is whole."""


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
    if group.is_main:
        (folder / COMPLETE).unlink(missing_ok=True)
    device = choose_device(options.gpu_ids, group.local_rank)
    scores: dict[str, list[ImageScore]] = {}
    parameters: dict[str, int] = {}
    failures: list[Failure] = []
    for name, method in options.rows().items():
        if options.methods and is_missing(name, method, group):
            continue
        network = build_network(method.network_G)
        load_pretrained(network, method.path.pretrain_model_G, method.path.strict_load)
        parameters[name] = sum(parameter.numel() for parameter in network.parameters())
        own_folder = folder / name if options.methods else folder
        done = take_up(own_folder, method, options, datasets, group, resume)
        outcomes = run_method(
            name, Restorer(network, device, options.precision), options, datasets, own_folder, group, done
        )
        if group.is_main:
            scores[name] = write_scores(own_folder, outcomes)
            failures += [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if group.is_main:
        report(options, scores, parameters, folder)
        for failure in failures:
            print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def open_datasets(sets: Mapping[str, TestSet], group: Processes) -> Datasets:
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


def take_up(
    folder: Path, method: Method, options: TestOptions, datasets: Datasets, group: Processes, resume: bool
) -> list[ImageScore]:
    """What an earlier run of the same method left in `folder`, if it is to go on; begins anew otherwise.

    The same method: the same network, weights and data (by their SHA-256), suffix, crop_border and precision.
    A score counts where its restored image is there still.
    """
    done: list[ImageScore] = []
    if group.is_main:
        path, marker = method.path.pretrain_model_G, folder / "method.yml"
        identity = {
            "method": method.model_dump(by_alias=True, exclude_none=True),
            "weights": hashlib.sha256(from_root(path).read_bytes()).hexdigest() if path else "none",
            "suffix": options.suffix,
            "crop_border": options.crop_border,
            "data": {name: dataset.digest() for name, (_, dataset) in datasets.items()},
            "noise": {name: test_set.noise_sigma for name, (test_set, _) in datasets.items()},
        }
        if options.precision != "float32":
            identity["precision"] = options.precision
        text = to_yaml(identity)
        if resume and marker.is_file() and marker.read_text(encoding="utf-8") == text:
            done = [s for s in read_scores(folder) if restored_path(folder / s.set, s.image, options.suffix).is_file()]
        write_scores(folder, done)
        write_text(marker, text)
    return group.same(done)


def run_method(
    name: str,
    restorer: Restorer,
    options: TestOptions,
    datasets: Datasets,
    folder: Path,
    group: Processes,
    done: Sequence[ImageScore],
) -> list[ImageScore | Failure]:
    """Evaluate this process's share of the images not done yet; the main process gets everybody's outcomes."""
    wanted = [
        (test_set, dataset, index)
        for test_set, dataset in datasets.values()
        for index in range(min(len(dataset), options.max_images or len(dataset)))
    ]
    scored = {score.key(): score for score in done}
    names = [(test_set.name, dataset.name(index)) for test_set, dataset, index in wanted]
    work = [item for item, key in zip(wanted, names, strict=True) if key not in scored]
    kept = [scored[key] for key in names if key in scored]
    outcomes: list[ImageScore | Failure] = []
    with Journal(folder, group.rank) as journal:
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
            journal.add(outcome)
            outcomes.append(outcome)
    return kept + group.gather(outcomes) if group.is_main else group.gather(outcomes)


def report(
    options: TestOptions, scores: Mapping[str, Sequence[ImageScore]], parameters: Mapping[str, int], folder: Path
) -> None:
    """Write the summary and the tables (Markdown, LaTeX, CSV), and print the tables."""
    order = [test_set.name for test_set in options.datasets.values()]
    by_file = {name: sorted(rows, key=lambda row: order.index(row.set)) for name, rows in scores.items()}
    summary = summarise(by_file, parameters)
    write_csv(folder / "summary.csv", summary, SUMMARY_COLUMNS)
    tables = arrange(summary)
    markdown = to_markdown(tables) if tables else "No image could be restored.\n"
    write_text(folder / "table.md", f"# {options.name}\n\n{markdown}")
    write_text(folder / "table.tex", to_latex(tables))
    write_csv(folder / "table.csv", to_rows(tables), ROW_COLUMNS)
    write_text(folder / COMPLETE, dump_options(options))
    print(markdown)
    print(f"Results: {folder}")


if __name__ == "__main__":
    sys.exit(run_command_line(main))
