"""Restore and score the test sets of an option file.

    python codes/test.py -opt options/test/light_table2.yml
    python codes/test.py -opt options/test/quickstart.yml --weights experiments/own
    torchrun --nproc_per_node 2 codes/test.py -opt options/test/light_table2.yml

Writes results/<name>/: every restored image under <set>/, per_image.csv, summary.csv, the paper's table as
table.md, table.tex and table.csv, and options.yml (as resolved). A file with several `methods` has one such
folder for each method, and one summary and table for all. With --resume, images that an earlier, interrupted
run of the same method has finished are not restored again. --weights adds your own network to the methods
of the file, or replaces its only network.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.evaluation.evaluator import Evaluator, ImageScore, write_scores
from codes.evaluation.run import COMPLETE, finished_scores, is_missing, open_method, open_sets, run_method, write_report
from codes.inference.restorer import Restorer
from codes.options import NAME, Method, PathOptions, TestOptions, load_options
from codes.restoration.networks import find_weights
from codes.restoration.orientation import warn_if_rotated
from codes.utils.devices import choose_device
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, from_root
from codes.utils.processes import Processes, processes


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--weights", metavar="PATH", help="your own weights: an experiment's folder or a weight file")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    arguments = parser.parse_args(argv)
    options = load_options(TestOptions, arguments.opt, arguments.set)
    if arguments.weights is not None:
        options = with_weights(options, arguments.weights)
    with processes() as group:
        return test(options, arguments.results / options.name, group, arguments.resume)


def with_weights(options: TestOptions, weights: str) -> TestOptions:
    """The options with another network: as one more of the methods, or in place of the only network."""
    path, network, _ = find_weights(weights)
    path = path.resolve()
    paths = PathOptions(pretrain_model_G=str(path))
    if not options.methods:
        return options.model_copy(update={"network_G": network, "path": paths})
    # experiments/own and experiments/own/models/best.safetensors are both called own.
    name = path.parents[1].name if path.parent.name == "models" else path.stem
    if not re.fullmatch(NAME, name):
        raise UserError(f"--weights {weights}: a row of the table cannot be called '{name}'; rename the folder or file")
    row = options.methods.get(name)
    if row and (row.path.pretrain_model_G is None or from_root(row.path.pretrain_model_G).resolve() != path):
        raise UserError(f"--weights {weights}: a row is already called '{name}'; rename the folder or file")
    return options.model_copy(update={"methods": {**options.methods, name: Method(network_G=network, path=paths)}})


def test(options: TestOptions, folder: Path, group: Processes, resume: bool) -> int:
    """Run every method on every set; returns the exit status, which is 1 if an image failed."""
    sets = open_sets(options.datasets.values(), group)
    if group.is_main:
        first_use = {test_set.dataroot_KM: (test_set, dataset) for test_set, dataset in reversed(sets)}
        for test_set, dataset in first_use.values():  # each folder of kernels is examined once
            warn_if_rotated(test_set.name, dataset)
        (folder / COMPLETE).unlink(missing_ok=True)
    device = choose_device(options.gpu_ids, group.local_rank)
    scores: dict[str, list[ImageScore]] = {}
    parameters: dict[str, int] = {}
    failures: list[str] = []
    for name, method in options.rows().items():
        if options.methods and is_missing(name, method, group):
            continue
        network = open_method(method)
        own_folder = folder / name if options.methods else folder
        restorer = Restorer(network, device, options.precision)
        evaluator = Evaluator(name, restorer, own_folder, options.suffix, options.crop_border or 0)
        done = finished_scores(own_folder, method, options, sets, group, resume)
        outcomes = run_method(evaluator, sets, options.max_images, group, done)
        if group.is_main:
            scores[name] = write_scores(own_folder, outcomes)
            parameters[name] = sum(parameter.numel() for parameter in network.parameters())
            failures += [outcome for outcome in outcomes if isinstance(outcome, str)]
    if group.is_main:
        write_report(options, scores, parameters, folder)
        for failure in failures:
            print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run_command_line(main, interrupted="interrupted; the same command with --resume continues"))
