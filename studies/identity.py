"""How well an image without blur survives: a kernel of a single pixel, no noise.

    python studies/identity.py

Restores the sharp quickstart and validation images and writes their PSNR (dB), after rounding to 8 bit, to
results/published/identity.csv.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.images import list_images, read_image, to_8bit
from codes.data.kernel_generator import delta
from codes.data.preparation import ensure_quickstart
from codes.evaluation.metrics import psnr
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.errors import run_command_line
from studies import harness


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE", help=f"default: {SHIPPED}")
    parser.add_argument("--sets", nargs="+", default=("Quickstart", "Validation"), help="default: both")
    arguments = parser.parse_args(argv)
    ensure_quickstart(arguments.data / "Quickstart")
    network = load_network(arguments.weights).network
    rows = []
    for name in arguments.sets:
        scores = {}
        for path in tqdm(list_images(arguments.data / name / "GT"), desc=name, unit="image"):
            image = read_image(path)
            scores[path.stem] = psnr(to_8bit(image), to_8bit(harness.restored(network, image, delta(1))))
        least = min(scores, key=scores.get)
        row = {"set": name, "images": len(scores), "mean_psnr": f"{fmean(scores.values()):.2f}"}
        rows.append(row | {"worst_psnr": f"{scores[least]:.2f}", "worst_image": least})
    harness.publish(arguments.output, "identity", rows)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
