"""Export a network with torch.export, checked against eager.

    python codes/scripts/export_network.py --preset tiny --weights Models/dsdnet_tiny.safetensors \\
        --size 256 256 --kernel 35 --out tiny_256_35.pt2

Elsewhere `torch.export.load(file).module()(blurry, kernel)` restores, without this repository: images (1, 3, H, W)
and kernels (1, h, w) of these sizes, or with --dynamic of all sizes of at least 32 pixels and kernels of odd sides
from 3 on. With --aot AOTInductor compiles the network for these sizes on this machine, which takes minutes and a C++
compiler; `torch._inductor.aoti_load_package(file)(blurry, kernel)` restores then.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.models.factory import build_preset, load_pretrained
from codes.models.registry import PRESETS
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import write_atomic

TOLERANCE = 1e-4
LEAST_SIDE = 32
"""of an image of open size"""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=list(PRESETS), help="default tiny")
    parser.add_argument("--weights", required=True, metavar="FILE", help="a .pth or .safetensors file")
    parser.add_argument("--size", type=positive, nargs=2, required=True, metavar=("H", "W"))
    parser.add_argument("--kernel", type=positive, required=True, help="side")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dynamic", action="store_true", help="leave the sizes open; those given are examples")
    how.add_argument("--aot", action="store_true", help="compile with AOTInductor")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt2")
    arguments = parser.parse_args(argv)
    if arguments.out.suffix != ".pt2":
        raise UserError(f"--out {arguments.out}: the file's name has to end in .pt2")
    network = build_preset(arguments.preset)
    load_pretrained(network, arguments.weights)
    (height, width), side = arguments.size, arguments.kernel
    if arguments.dynamic and (min(height, width) < LEAST_SIDE or side < 3 or side % 2 == 0):
        raise UserError(f"--dynamic: needs a --size of at least {LEAST_SIDE} and an odd --kernel of at least 3")
    blurry, kernel = example(height, width, side)
    with torch.no_grad():
        program = torch.export.export(
            network,
            (blurry, kernel),
            dynamic_shapes=open_sizes() if arguments.dynamic else None,
            prefer_deferred_runtime_asserts_over_guards=arguments.dynamic,
        )
        check(program.module(), network, blurry, kernel)
        if arguments.dynamic:
            check(program.module(), network, *example(height + 13, width + 6, side + 2))

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


def open_sizes() -> tuple[dict[int, Dim], dict[int, Dim]]:
    """The dimensions that stay open, of the image and of the kernel."""
    height, width = (Dim(name, min=LEAST_SIDE, max=2**15) for name in ("height", "width"))
    rows, columns = (2 * Dim(f"half_{name}", min=1, max=2**8) + 1 for name in ("rows", "columns"))
    return {2: height, 3: width}, {1: rows, 2: columns}


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
