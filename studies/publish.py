"""Copy the tables of finished runs to results/published/ and insert them into README.md, REPRODUCTION.md and docs/.

    python studies/publish.py table2 table3 robustness ablation

Without names, only headline.md, table2_psnr.md and the pages are written. In the pages a table is between two marks,
the first of which names its file: <!-- table: results/published/... --> and <!-- end of table -->.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.preparation import replaced_when_complete
from codes.evaluation.run import COMPLETE
from codes.evaluation.tables import headline, table2_psnr
from codes.options import TestOptions, load_options
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import PUBLISHED, ROOT, read_csv, write_text
from studies.ablation import OPTION_FILE, AblationOptions

PAGES = (ROOT / "README.md", ROOT / "REPRODUCTION.md", *sorted((ROOT / "docs").glob("*.md")))
KEPT = ("per_image.csv", "summary.csv", "table.md", "table.tex", "table.csv", COMPLETE)
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of runs below results/: table2, table3, ...")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        SPECIAL.get(name, publish)(ROOT / "results" / name, PUBLISHED / name)
    rows = {name: read_csv(PUBLISHED / name / "table.csv") for name in ("table2", "table3")}
    write_text(PUBLISHED / "headline.md", headline(rows["table2"] + rows["table3"]))
    write_text(PUBLISHED / "table2_psnr.md", table2_psnr(rows["table2"]))
    for page in PAGES:
        write_text(page, with_tables(page.read_text(encoding="utf-8")))
    return 0


def publish(run: Path, target: Path) -> None:
    """Copy a run's tables, and the scores per image of trained networks. Raises UserError if the run is incomplete."""
    if not (run / COMPLETE).is_file():
        raise UserError(f"{run}: this run is not finished; run the table first (sh run_scripts.sh tables)")
    options = load_options(TestOptions, run / COMPLETE)
    counts: dict[tuple[str, str], set[str]] = {}
    for row in read_csv(run / "summary.csv"):
        counts.setdefault((row["set"], row["class"]), set()).add(row["images"])
    if any(len(numbers) > 1 for numbers in counts.values()):
        raise UserError(f"{run}: images are missing from some of the rows; run the table again")
    if options.max_images is not None:
        raise UserError(f"{run}: only {options.max_images} images of each set were run; run the whole table first")
    methods = (options.methods or {}).items()
    folders = [run, *(run / name for name, method in methods if method.path.pretrain_model_G)]
    with replaced_when_complete(target) as copies:
        for path in (folder / name for folder in folders for name in KEPT if (folder / name).is_file()):
            copy(path, copies / path.relative_to(run))


def publish_ablation(run: Path, target: Path) -> None:
    """Copy the ablation's tables. Raises UserError unless every variant was trained as its option file says."""
    if not (run / "ablation.csv").is_file():
        raise UserError(f"{run}: there are no results; run python studies/ablation.py first")
    options = load_options(AblationOptions, OPTION_FILE)
    expected = {
        name: (str(options.training_options(name, options.seeds[0], quick=False).train.niter), str(len(options.seeds)))
        for name in options.variants
    }
    if {row["variant"]: (row["iterations"], row["seeds"]) for row in read_csv(run / "ablation.csv")} != expected:
        raise UserError(f"{run}: some variants are missing or not trained to the end; run studies/ablation.py first")
    copy(run / "ablation.csv", target.with_suffix(".csv"))
    copy(run / "table.md", target.with_suffix(".md"))


def publish_robustness(run: Path, target: Path) -> None:
    """Copy robustness.csv. Raises UserError if the measurement is missing or not finished."""
    if not (run / COMPLETE).is_file():
        raise UserError(f"{run}: the measurement is not finished; run python studies/robustness.py first")
    copy(run / "robustness.csv", target.with_suffix(".csv"))


def copy(source: Path, target: Path) -> None:
    """Copy a text file."""
    write_text(target, source.read_text(encoding="utf-8"))


# Runs that are not of codes/test.py.
SPECIAL = {"ablation": publish_ablation, "robustness": publish_robustness}


def table_of(path: Path) -> str:
    """A published file as Markdown: the body of a .md file without its title, or a .csv file as a table."""
    if not path.is_file():
        raise UserError(f"{path}: a page names this table, but the file is missing")
    if path.suffix == ".csv":
        return tabulate(read_csv(path), headers="keys", tablefmt="github", disable_numparse=True) + "\n"
    return re.sub(r"^# .*\n+", "", path.read_text(encoding="utf-8"))


def with_tables(page: str) -> str:
    """A page's text with every marked table replaced by the current content of its file."""
    return _BLOCK.sub(lambda match: match[1] + table_of(ROOT / match[2]) + match[3], page)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
