"""Copy the figures of a run to results/published/ and write the README's tables anew.

    python codes/scripts/publish.py table2 table3 robustness ablation

Without names only headline.md, claims.csv and the pages are written: the tables of README.md and
REPRODUCTION.md stand between marks that name their file, <!-- table: results/published/... --> and
<!-- end of table -->.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.metrics.headline import headline
from codes.options import TestOptions, load_options
from codes.scripts.check_claims import write_claims
from codes.training.ablation import OPTION_FILE, AblationOptions
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, read_csv, write_text

PUBLISHED = ROOT / "results" / "published"
PAGES = (ROOT / "README.md", ROOT / "REPRODUCTION.md")
KEPT = ("per_image.csv", "summary.csv", "table.md", "table.tex", "table.csv", "options.yml")
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def publish(run: Path, target: Path) -> None:
    """Copy a run's tables and scores (no images) from results/<name> to `target`."""
    if not (run / "options.yml").is_file():
        raise UserError(f"{run}: holds no whole run; run the table first (sh run_scripts.sh tables)")
    options = load_options(TestOptions, run / "options.yml")
    counts: dict[tuple[str, str], set[str]] = {}
    for row in read_csv(run / "summary.csv"):
        counts.setdefault((row["set"], row["class"]), set()).add(row["images"])
    if any(len(numbers) > 1 for numbers in counts.values()):
        raise UserError(f"{run}: images are missing from some of the rows; run the table again")
    if options.max_images is not None:
        raise UserError(f"{run}: was run on {options.max_images} images of each set only; run the whole table first")
    folders = [run, *(run / name for name in options.methods or ())]
    files = [folder / name for folder in folders for name in KEPT if (folder / name).is_file()]
    copies = target.with_name(f".{target.name}.new")
    shutil.rmtree(copies, ignore_errors=True)
    for path in files:
        copy = copies / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.rmtree(target, ignore_errors=True)
    copies.rename(target)


def publish_ablation(run: Path, target: Path) -> None:
    """Copy the ablation's figures, where every variant was trained as long as its option file says."""
    if not (run / "ablation.csv").is_file():
        raise UserError(f"{run}: holds no results; run python codes/scripts/run_ablation.py first")
    options = load_options(AblationOptions, OPTION_FILE)
    trained = {row["variant"]: row["iterations"] for row in read_csv(run / "ablation.csv")}
    if trained != {name: str(options.recipe(name, quick=False).train.niter) for name in options.variants}:
        raise UserError(f"{run}: not all variants were trained, or not to the end; run run_ablation.py first")
    shutil.copyfile(run / "ablation.csv", target.with_suffix(".csv"))
    shutil.copyfile(run / "table.md", target.with_suffix(".md"))


def publish_robustness(run: Path, target: Path) -> None:
    """Copy robustness.csv. Raises UserError where the measurement is not there or not finished."""
    if not (run / "options.yml").is_file():
        raise UserError(f"{run}: holds no whole measurement; first: python codes/scripts/measure_robustness.py")
    write_text(target.with_suffix(".csv"), (run / "robustness.csv").read_text(encoding="utf-8"))


SPECIAL = {"ablation": publish_ablation, "robustness": publish_robustness}
"""Runs that are not of codes/test.py."""


def table_of(path: Path) -> str:
    """A published file as Markdown: the body of a .md file without its title, or a .csv file."""
    if not path.is_file():
        raise UserError(f"{path}: named in the README but not there")
    if path.suffix == ".csv":
        rows = read_csv(path)
        return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) + "\n"
    return re.sub(r"^# .*\n+", "", path.read_text(encoding="utf-8"))


def with_tables(page: str) -> str:
    """A page's text with every marked table as its file has it now."""
    return _BLOCK.sub(lambda match: match[1] + table_of(ROOT / match[2]) + match[3], page)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of runs below results/: table2, table3, ...")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        SPECIAL.get(name, publish)(ROOT / "results" / name, PUBLISHED / name)
    rows = [row for name in ("table2", "table3") for row in read_csv(PUBLISHED / name / "table.csv")]
    write_text(PUBLISHED / "headline.md", headline(rows))
    write_claims(PUBLISHED, PUBLISHED / "claims.csv")
    for page in PAGES:
        write_text(page, with_tables(page.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
