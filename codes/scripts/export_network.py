"""Export a network with torch.export for one image and kernel size, checked against eager.

    python codes/scripts/export_network.py --preset tiny --weights Models/dsdnet_tiny.safetensors \\
        --size 256 256 --kernel 35 --out tiny_256_35.pt2

Elsewhere `torch.export.load(file).module()(blurry, kernel)` restores, without this repository. The sizes are fixed:
the lengths of the Fourier transforms are looked up while exporting (docs/performance.md).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.models.factory import build_preset, load_pretrained
from codes.models.registry import PRESETS
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import write_atomic

TOLERANCE = 1e-4


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=list(PRESETS), help="default tiny")
    parser.add_argument("--weights", required=True, metavar="FILE", help="a .pth or .safetensors file")
    parser.add_argument("--size", type=positive, nargs=2, required=True, metavar=("H", "W"))
    parser.add_argument("--kernel", type=positive, required=True, help="side")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt2")
    arguments = parser.parse_args(argv)
    if arguments.out.suffix != ".pt2":
        raise UserError(f"--out {arguments.out}: the file's name has to end in .pt2")
    network = build_preset(arguments.preset)
    load_pretrained(network, arguments.weights)
    torch.manual_seed(0)
    blurry, kernel = torch.rand(1, 3, *arguments.size), torch.rand(1, arguments.kernel, arguments.kernel)
    kernel /= kernel.sum()
    with torch.no_grad():
        program = torch.export.export(network, (blurry, kernel))
        difference = (program.module()(blurry, kernel) - network(blurry, kernel)).abs().max().item()
    if not difference <= TOLERANCE:
        raise UserError(f"the exported network differs from the eager one by {difference:.1e}; nothing was written")
    write_atomic(arguments.out, lambda temporary: torch.export.save(program, temporary))
    print(f"{arguments.out}: differs from the eager network by at most {difference:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
