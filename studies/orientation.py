"""How often codes/deblur.py notices that a kernel was given rotated by 180 degrees.

    python studies/orientation.py

Every image of the tables' test sets is judged with its own kernel rotated on purpose. The judgement is right if it
turns the kernel back, so that the result is that of the right kernel to the last bit. A kernel that is left as given
counts as wrong. Writes to results/published/orientation.csv, for each set: the number of images, how many were right,
their share, and the share of false warnings that the kernel does not explain the blur.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.kernels import rotated
from codes.data.triples import Triple
from codes.evaluation.run import open_set
from codes.evaluation.tables import set_and_noise
from codes.options import TestOptions, load_options
from codes.restoration.orientation import judge
from codes.utils.errors import run_command_line, warn
from codes.utils.files import ROOT, from_root
from studies import harness

TABLES = tuple(ROOT / "options" / "test" / name for name in ("table2.yml", "table3.yml"))


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("-opt", type=Path, nargs="+", default=TABLES, help="option files of the sets; default: tables")
    arguments = parser.parse_args(argv)
    rows = []
    for test_set in [s for path in arguments.opt for s in load_options(TestOptions, path).datasets.values()]:
        if not from_root(test_set.dataroot_LQ).is_dir():
            warn(f"{test_set.name} is skipped: {test_set.dataroot_LQ} is missing (prepare_datasets.py makes it)")
            continue
        triples = open_set(test_set)
        indices = tqdm(range(len(triples)), desc=test_set.name, unit="image")
        verdicts = [judged(triples[index]) for index in indices]
        right, warned = (sum(column) for column in zip(*verdicts, strict=True))
        rows.append(
            {
                "set": f"{' '.join(set_and_noise(test_set.name))} %".removesuffix("  %"),
                "images": len(verdicts),
                "right": right,
                "share": f"{right / len(verdicts):.3f}",
                "false_warnings": f"{warned / len(verdicts):.3f}",
            }
        )
    harness.publish(arguments.output, "orientation", rows)
    return 0


def judged(triple: Triple) -> tuple[bool, bool]:
    """True if the rotated kernel was turned back, and true if there was a warning."""
    given = rotated(triple.kernel)
    verdict = judge(triple.blurry, given)
    used = rotated(given) if verdict.rotated else given
    return np.array_equal(used, triple.kernel), not verdict.explains


if __name__ == "__main__":
    sys.exit(run_command_line(main))
