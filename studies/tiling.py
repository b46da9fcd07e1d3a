"""What tiles change, and the memory that a network needs: the numbers with which codes/inference plans its tiles.

    python studies/tiling.py

Blurs a mosaic of images with kernels of several sizes and little noise, and restores it at once and in the smallest
tiles that each kernel allows. The differences, in steps of an 8-bit image, and the PSNR of one result against the
other go to results/published/tiling.csv, the measured bytes per pixel to results/published/tiling_memory.csv.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.inference.restorer import X0_BYTES
from codes.inference.tiling import smallest_side, tile_overlap
from codes.models.factory import build_preset
from codes.models.network import Network
from codes.restoration.networks import SHIPPED, load_network
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.memory import peak_memory
from studies import harness


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=positive, nargs=2, default=(736, 1040), help="of the mosaic, default 736 1040")
    kernels = (9, 15, 25, 45, 75)
    parser.add_argument("--kernels", type=positive, nargs="+", default=kernels, help="sides; default 9 15 25 45 75")
    sides_help = "of the images whose memory is measured; default 256 448"
    parser.add_argument("--sides", type=positive, nargs=2, default=(256, 448), help=sides_help)
    parser.add_argument("--images", type=Path, help="folder of colour images for the mosaic, default: Train/GT")
    arguments = parser.parse_args(argv)
    sharp = harness.mosaic(*arguments.size, arguments.images or arguments.data / "Train" / "GT")
    network = load_network().network
    rows = [differences(network, sharp, size) for size in tqdm(arguments.kernels, unit="kernel")]
    harness.publish(arguments.output, "tiling", rows)
    networks = {SHIPPED: network, "light": build_preset("light")}
    memory = [row for name in networks for row in bytes_per_pixel(name, networks[name], arguments.sides)]
    harness.publish(arguments.output, "tiling_memory", memory)
    return 0


def differences(network: Network, sharp: np.ndarray, size: int) -> harness.Row:
    """A row of tiling.csv: a mosaic (H, W, 3) restored in tiles compared with the mosaic restored at once."""
    kernel = harness.kernel_of_size(size)
    blurry = harness.blur_and_noise(sharp, kernel, seed=size) / np.float32(255)
    overlap = tile_overlap(torch.from_numpy(kernel))
    tile = smallest_side(overlap)
    if tile >= max(sharp.shape[:2]):
        raise UserError(f"--size: a kernel of {size} pixels needs tiles of {tile}; choose a larger mosaic")
    whole, tiled = (harness.restored(network, blurry, kernel, tile=choice).clip(0, 1) for choice in ("off", tile))
    difference = 255 * np.abs(whole - tiled)
    return {
        "kernel": f"{size}x{size}",
        "tile": tile,
        "overlap": overlap,
        "image": f"{sharp.shape[1]}x{sharp.shape[0]}",
        "max_difference": f"{difference.max():.2f}",
        "mean_difference": f"{difference.mean():.4f}",
        "share_above_1": f"{(difference > 1).mean():.2e}",
        "psnr": f"{20 * np.log10(255 / np.sqrt(np.square(difference).mean())):.1f}",
    }


def bytes_per_pixel(name: str, network: Network, sides: tuple[int, int]) -> list[harness.Row]:
    """Rows of tiling_memory.csv: the bytes that x0 and the network need for one pixel more."""
    kernel = torch.from_numpy(harness.kernel_of_size(31))[None].float()
    rows = []
    for what, call in (("x0", network.initial), ("network", lambda y, k: network(y, k, x0=y))):
        with torch.inference_mode():
            peaks = [peak(lambda side=side, call=call: call(torch.rand(1, 3, side, side), kernel)) for side in sides]
        small, large = (side**2 for side in sides)
        rows.append(
            {
                "network": name,
                "what": what,
                "pixels": large,
                "bytes_a_pixel": round((peaks[1] - peaks[0]) * 2**20 / (large - small)),
                "planned": network.bytes_per_pixel if what == "network" else X0_BYTES,
            }
        )
    return rows


def peak(work: Callable[[], object]) -> float:
    """Peak memory in MiB of the second of two runs."""
    work()
    with peak_memory(torch.device("cpu")) as measured:
        work()
    if measured.mib is None:
        raise UserError("this system does not report a process's peak memory")
    return measured.mib


if __name__ == "__main__":
    sys.exit(run_command_line(main))
