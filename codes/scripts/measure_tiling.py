"""Measure what tiles change, and the memory that a network takes: codes/restoration plans with these figures.

    python codes/scripts/measure_tiling.py

Blurs a mosaic of the training images (--images: of those in another folder) with kernels of several sizes and little
noise, restores it at once and in the smallest tiles that each kernel allows, and writes the differences, in steps of
an 8-bit image, and the PSNR of one against the other to results/published/tiling.csv; and bytes a pixel to
results/published/tiling_memory.csv.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import with_noise
from codes.data.images import list_images, read_image
from codes.data.kernel_generator import camera_shake, delta
from codes.models.paper.blur import Blur
from codes.models.factory import build_preset
from codes.restoration.deblurring import Deblurrer, Settings, overlap_of
from codes.restoration.memory import X0_BYTES, network_bytes
from codes.restoration.networks import SHIPPED, load_network
from codes.restoration.tiling import smallest_side
from codes.utils.arguments import positive
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, write_csv
from codes.utils.memory import peak_memory

PUBLISHED = ROOT / "results" / "published"
NOISE = 0.003
IMAGES = ROOT / "Datasets" / "Train" / "GT"
PIECE = 256, 320
"""rows and columns that the mosaic takes of an image"""
IMAGES_HELP = (
    f"folder of colour images for the mosaic, 256 rows and 320 columns or more; default: {IMAGES.relative_to(ROOT)}"
)
NETWORKS = (SHIPPED, "light")
COLUMNS = ("kernel", "tile", "overlap", "image", "max_difference", "mean_difference", "share_above_1", "psnr")
MEMORY_COLUMNS = ("network", "what", "pixels", "bytes_a_pixel", "planned")
CPU = torch.device("cpu")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, nargs=2, default=(736, 1040), help="of the mosaic, default 736 1040")
    kernels = (9, 15, 25, 45, 75)
    parser.add_argument("--kernels", type=positive, nargs="+", default=kernels, help="sides; default 9 15 25 45 75")
    parser.add_argument(
        "--sides", type=positive, nargs=2, default=(256, 448), help="of images for memory, default 256 448"
    )
    parser.add_argument("--images", type=Path, default=IMAGES, help=IMAGES_HELP)
    parser.add_argument("--output", type=Path, default=PUBLISHED, help=f"default: {PUBLISHED.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    sharp = mosaic(*arguments.size, arguments.images)
    network = load_network().network
    rows = [differences(network, sharp, size) for size in tqdm(arguments.kernels, unit=" kernels")]
    write_csv(arguments.output / "tiling.csv", rows, COLUMNS)
    print(tabulate(rows, headers="keys", tablefmt="github"))
    memory = [row for name in NETWORKS for row in bytes_a_pixel(name, arguments.sides)]
    write_csv(arguments.output / "tiling_memory.csv", memory, MEMORY_COLUMNS)
    print(tabulate(memory, headers="keys", tablefmt="github"))
    return 0


def mosaic(height: int, width: int, folder: Path) -> np.ndarray:
    """The upper left corners of a folder's images side by side: (height, width, 3), float32 from 0 to 1.

    Grey images and those smaller than PIECE are left out. Raises UserError where too few remain, the folder is
    missing or an image can't be read.
    """
    rows, columns = (-(-length // side) for length, side in zip((height, width), PIECE, strict=True))
    images = (read_image(path)[: PIECE[0], : PIECE[1]] for path in list_images(folder))
    pieces = list(islice((image for image in images if image.shape == (*PIECE, 3)), rows * columns))
    if len(pieces) < rows * columns:
        needed = f"{rows * columns} of {PIECE[0]} rows and {PIECE[1]} columns or more"
        raise UserError(f"{folder}: holds {len(pieces)} of the colour images that the mosaic takes, {needed}")
    lines = [np.concatenate(pieces[row * columns : (row + 1) * columns], 1) for row in range(rows)]
    return np.concatenate(lines)[:height, :width]


def kernel_of_size(size: int) -> np.ndarray:
    """A camera shake; of one pixel a delta."""
    return camera_shake(np.random.RandomState(size), size) if size > 1 else delta(1)


def differences(network: nn.Module, sharp: np.ndarray, size: int) -> dict[str, object]:
    """A row of COLUMNS: restored in tiles against at once."""
    kernel = kernel_of_size(size)
    x, k = torch.from_numpy(sharp).permute(2, 0, 1)[None], torch.from_numpy(kernel)[None].float()
    blurry = Blur(k, x.shape[-2:])(x)[0].permute(1, 2, 0).numpy()
    blurry = with_noise(blurry, NOISE, seed=size) / np.float32(255)
    overlap = overlap_of(k)
    tile = smallest_side(overlap)
    if tile >= max(sharp.shape[:2]):
        raise UserError(f"--size: tiles for a kernel of {size} pixels have {tile}; a larger mosaic is needed")
    whole, tiled = (
        Deblurrer(network, settings=Settings(tile=choice)).stages(blurry, kernel, every=False)[0].clip(0, 1)
        for choice in ("off", tile)
    )
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


def bytes_a_pixel(name: str, sides: tuple[int, int]) -> list[dict[str, object]]:
    """Rows of MEMORY_COLUMNS: what x0 and the network take for one pixel more."""
    network = load_network(name).network if name == SHIPPED else build_preset(name)
    kernel = torch.from_numpy(kernel_of_size(31))[None].float()
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
                "planned": network_bytes(network) if what == "network" else X0_BYTES,
            }
        )
    return rows


def peak(work: Callable[[], object]) -> float:
    """MiB, of the second of two runs."""
    work()
    with peak_memory(CPU) as measured:
        work()
    if measured.mib is None:
        raise UserError("this system does not tell a process's peak memory")
    return measured.mib


if __name__ == "__main__":
    sys.exit(run_command_line(main))
