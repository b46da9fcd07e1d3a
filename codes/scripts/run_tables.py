"""Run every table whose data and weights are there, and write its report. For other tables, print what is missing.

    python codes/scripts/run_tables.py

A table is an option file options/test/table*.yml. An interrupted run continues where it stopped. Finished images are
restored again only if weights or data have changed, or with --force.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes import test as test_script
from codes.evaluation.run import COMPLETE
from codes.options import TestOptions, load_options
from codes.scripts import make_report
from codes.utils.errors import INTERRUPTED, UserError, run_command_line
from codes.utils.files import ROOT, from_root

TABLES = ROOT / "options" / "test"
QUICK_IMAGES = 1
DATA_HINT = "python codes/scripts/prepare_datasets.py --source DIR, see Datasets/README.md"
WEIGHTS_HINT = "a download from the authors, see Models/README.md"


def lacking(options: TestOptions) -> str | None:
    """What is missing for a table and where to get it; None if the table can be run."""
    sets = options.datasets.values()
    for root in (root for one in sets for root in (one.dataroot_GT, one.dataroot_LQ, one.dataroot_KM)):
        if not from_root(root).is_dir():
            return f"{root} is missing ({DATA_HINT})"
    weights = [method.path.pretrain_model_G for method in options.rows().values()]
    if all(path is not None and not from_root(path).is_file() for path in weights):
        return f"{weights[0]} is missing ({WEIGHTS_HINT})"
    return None


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key in each")
    parser.add_argument("--options", type=Path, default=TABLES, help="folder of the option files")
    parser.add_argument("--results", type=Path, help="default: results, with --quick results/quick")
    parser.add_argument("--force", action="store_true", help="also restore finished images again")
    parser.add_argument("--quick", action="store_true", help=f"on the first {QUICK_IMAGES} images of each set only")
    arguments = parser.parse_args(argv)
    results = arguments.results or ROOT / "results" / ("quick" if arguments.quick else "")
    keys = [*arguments.set, *([f"max_images={QUICK_IMAGES}"] if arguments.quick else [])]
    overrides = [word for key in keys for word in ("--set", key)]
    status, measured = 0, 0
    for path in sorted(arguments.options.glob("table*.yml")):
        try:
            options = load_options(TestOptions, path, arguments.set)
            missing = lacking(options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
            continue
        if missing:
            print(f"{path.stem}: left out, {missing}")
            continue
        print(f"{path.stem}:", flush=True)
        measured += 1
        call = ["-opt", str(path), "--results", str(results), *overrides, *([] if arguments.force else ["--resume"])]
        status = max(status, run_command_line(test_script.main, call))
        if status == INTERRUPTED:
            return status
        if (results / options.name / COMPLETE).is_file():
            status = max(status, run_command_line(make_report.main, [options.name, "--results", str(results)]))
    if not measured:
        print("no table was measured; options/test/quickstart.yml needs no data: python codes/test.py -opt FILE")
    return status


if __name__ == "__main__":
    sys.exit(run_command_line(main))
