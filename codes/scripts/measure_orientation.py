"""Measure how often codes/deblur.py finds out that a kernel was given the wrong way round.

    python codes/scripts/measure_orientation.py

Every image of the tables' test sets is judged with its own kernel rotated by 180 degrees on purpose. Right is
to turn it back: the kernel that is used then is the image's own to the last bit, and so is the result. An image that
can't tell leaves it as given, which counts as wrong.
Writes results/published/orientation.csv: by set the number of images, how many were right, their share, and the
share of false warnings that the kernel doesn't explain the blur. Goes on from
results/orientation/per_image.csv, where it was interrupted.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.triples import TripleDataset
from codes.metrics.tables import set_and_noise
from codes.options import TestOptions, TestSet, load_options
from codes.restoration.orientation import judge, rotated
from codes.utils.errors import run_command_line, warn
from codes.utils.files import ROOT, from_root, read_csv, write_csv

TABLES = tuple(ROOT / "options" / "test" / name for name in ("table2.yml", "table3.yml"))
PUBLISHED = ROOT / "results" / "published" / "orientation.csv"
PER_IMAGE = ROOT / "results" / "orientation" / "per_image.csv"
COLUMNS = ("set", "images", "right", "share", "false_warnings")
PER_IMAGE_COLUMNS = ("set", "image", "turned_back", "certainty", "warned")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", type=Path, nargs="+", default=TABLES, help="option files whose sets are judged")
    parser.add_argument("--output", type=Path, default=PUBLISHED, help=f"default: {PUBLISHED.relative_to(ROOT)}")
    parser.add_argument("--per-image", type=Path, default=PER_IMAGE, help=f"default: {PER_IMAGE.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    rows = read_csv(arguments.per_image) if arguments.per_image.is_file() else []
    done = {(row["set"], row["image"]) for row in rows}
    names = []
    for test_set in [s for path in arguments.opt for s in load_options(TestOptions, path).datasets.values()]:
        if not from_root(test_set.dataroot_LQ).is_dir():
            warn(f"{test_set.name} is left out: {test_set.dataroot_LQ} is not there (prepare_datasets.py makes it)")
            continue
        names.append(test_set.name)
        dataset = open_set(test_set)
        for index in tqdm(range(len(dataset)), desc=test_set.name, unit=" images"):
            if (test_set.name, dataset.name(index)) not in done:
                rows.append(judged(test_set.name, dataset, index))
                write_csv(arguments.per_image, rows, PER_IMAGE_COLUMNS)
    summary = [summarise(name, [row for row in rows if row["set"] == name]) for name in names]
    write_csv(arguments.output, summary, COLUMNS)
    print(tabulate(summary, headers="keys", tablefmt="github"))
    return 0


def open_set(test_set: TestSet) -> TripleDataset:
    """The images of a test set."""
    return TripleDataset(
        *(from_root(root) for root in (test_set.dataroot_GT, test_set.dataroot_LQ, test_set.dataroot_KM))
    )


def judged(name: str, dataset: TripleDataset, index: int) -> dict[str, object]:
    """A row of PER_IMAGE_COLUMNS."""
    triple = dataset[index]
    given = rotated(triple.kernel)
    verdict = judge(triple.blurry, given)
    used = rotated(given) if verdict.rotated else given
    return {
        "set": name,
        "image": triple.name,
        "turned_back": int(np.array_equal(used, triple.kernel)),
        "certainty": f"{verdict.certainty:.4f}",
        "warned": int(not verdict.explains),
    }


def summarise(name: str, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """A row of COLUMNS, the set called as in the tables."""
    right, warned = (sum(int(row[key]) for row in rows) for key in ("turned_back", "warned"))
    return {
        "set": f"{' '.join(set_and_noise(name))} %".removesuffix("  %"),
        "images": len(rows),
        "right": right,
        "share": f"{right / len(rows):.3f}",
        "false_warnings": f"{warned / len(rows):.3f}",
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
