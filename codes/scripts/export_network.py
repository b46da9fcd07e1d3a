"""Export a network with torch.export, checked against eager.

    python codes/scripts/export_network.py --preset tiny --weights Models/dsdnet_tiny.safetensors \\
        --size 256 256 --kernel 35 --out tiny_256_35.pt2

Elsewhere `torch.export.load(file).module()(blurry, kernel)` restores, without this repository, images (1, 3, H, W)
with kernels (1, h, w) of these sizes (docs/performance.md says why not of others). With --aot AOTInductor compiles
the network on this machine, which takes minutes and a C++ compiler; what restores then is
`torch._inductor.aoti_load_package(file)(blurry, kernel)`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

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
    parser.add_argument("--aot", action="store_true", help="compile with AOTInductor")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt2")
    arguments = parser.parse_args(argv)
    if arguments.out.suffix != ".pt2":
        raise UserError(f"--out {arguments.out}: the file's name has to end in .pt2")
    network = build_preset(arguments.preset)
    load_pretrained(network, arguments.weights)
    network.requires_grad_(False)  # what is exported works in place, which autograd would refuse
    blurry, kernel = example(*arguments.size, arguments.kernel)
    with torch.no_grad():
        program = torch.export.export(network, (blurry, kernel))
        check(program.module(), network, blurry, kernel)

    def write(path: Path) -> None:
        if arguments.aot:
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))
            check(torch._inductor.aoti_load_package(str(path)), network, blurry, kernel)
        else:
            torch.export.save(program, path)

    write_atomic(arguments.out, write)
    print(f"{arguments.out}: differs from the eager network by less than {TOLERANCE:.0e}")
    return 0


def example(height: int, width: int, side: int) -> tuple[Tensor, Tensor]:
    """An image (1, 3, H, W) and a kernel (1, side, side)."""
    generator = torch.Generator().manual_seed(0)
    blurry = torch.rand(1, 3, height, width, generator=generator)
    kernel = torch.rand(1, side, side, generator=generator)
    return blurry, kernel / kernel.sum()


@torch.no_grad()
def check(restore: Callable[[Tensor, Tensor], Tensor], network: nn.Module, blurry: Tensor, kernel: Tensor) -> None:
    """Raise UserError where what was exported differs from the network."""
    difference = (restore(blurry, kernel) - network(blurry, kernel)).abs().max().item()
    if not difference <= TOLERANCE:
        size = "x".join(map(str, blurry.shape[2:]))
        raise UserError(
            f"the exported network differs from the eager one by {difference:.1e} at {size}; nothing was kept"
        )


if __name__ == "__main__":
    sys.exit(run_command_line(main))
