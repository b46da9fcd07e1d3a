"""Draw the pictures of fig/.

    python studies/make_figures.py
    python studies/make_figures.py tradeoff stages

EV1, EV2: the paper's comparison on BSD100 and on Lai, from the results of the tables. tradeoff: PSNR against seconds
and parameters. stages: the inside of the network that comes with the repository. robustness, ablation: from
studies/robustness.py and studies/ablation.py.
A figure whose results are missing is left out with a message.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.restoration.networks import load_network
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT
from studies import ablation, robustness
from studies.figures import comparison, stages, tradeoff
from studies.figures.page import NothingToDrawError

# Each draws one figure from a folder of results to a file.
FIGURES: dict[str, Callable[[Path, Path], None]] = {
    "EV1": partial(comparison.draw, comparison.BSD100),
    "EV2": partial(comparison.draw, comparison.LAI),
    "tradeoff": tradeoff.draw,
    "stages": lambda _, target: stages.draw(load_network().network, target),
    "robustness": lambda results, target: robustness.draw(robustness.finished(results), target),
    "ablation": ablation.draw,
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=FIGURES, default=tuple(FIGURES), help="default: all")
    parser.add_argument("--quick", action="store_true", help="use results/quick, where run_tables.py --quick writes")
    parser.add_argument("--results", type=Path, help="default: results")
    parser.add_argument("--target", type=Path, help="default: fig, with --quick fig/quick")
    arguments = parser.parse_args(argv)
    part = "quick" if arguments.quick else ""
    results, folder = arguments.results or ROOT / "results" / part, arguments.target or ROOT / "fig" / part
    for name in arguments.names:
        target = folder / f"{name}.png"
        try:
            FIGURES[name](results, target)
        except NothingToDrawError as error:
            print(f"{target.name}: left out, {error}", flush=True)
        else:
            print(f"{target}: drawn", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
