"""Write results/<name>/report.html: a run's tables, scores and images in one file to look through.

    python codes/scripts/make_report.py table2 table3

The file holds previews of the images, so that it can be passed on alone; they are reduced until they fit into 20 MB.
It links to the full-size images.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.report.page import build, read_report
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_text


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a run below results/")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    arguments = parser.parse_args(argv)
    for report in [read_report(arguments.results.absolute() / name) for name in arguments.names]:
        target = report.folder / "report.html"
        write_text(target, build(report))
        print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
