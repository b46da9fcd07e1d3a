"""Measure the time and memory that codes/deblur.py takes for a large image.

    python codes/scripts/measure_large.py

Blurs a mosaic of the training images (--images: of those in another folder), 6000x4000 pixels, with a kernel of
75 pixels and little noise, has codes/deblur.py restore it in at most 8 GB, and writes the process's peak memory, its
time (by the clock, and of the processor, which other work does not change) and PSNR (dB) before and after to
results/published/large.csv.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tabulate import tabulate

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.degradation import with_noise
from codes.data.images import read_image, to_8bit, write_8bit
from codes.data.kernels import write_kernel
from codes.metrics.quality import psnr
from codes.models.paper.blur import Blur
from codes.scripts.measure_tiling import IMAGES, IMAGES_HELP, NOISE, kernel_of_size, mosaic
from codes.utils.arguments import positive, positive_number
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, write_csv

OUTPUT = ROOT / "results" / "published" / "large.csv"
COLUMNS = (
    "image",
    "megapixels",
    "kernel",
    "memory_limit_gb",
    "peak_gb",
    "minutes",
    "cpu_minutes",
    "psnr_blurry",
    "psnr",
    "device",
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive, nargs=2, default=(4000, 6000), help="rows, columns; default 4000 6000")
    parser.add_argument("--kernel", type=positive, default=75, help="side of the kernel, default 75")
    parser.add_argument("--memory", type=positive_number, default=8.0, help="GB, default 8")
    parser.add_argument("--images", type=Path, default=IMAGES, help=IMAGES_HELP)
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    sharp = mosaic(*arguments.size, arguments.images)
    with TemporaryDirectory() as folder:
        row = measured(Path(folder), sharp, arguments.kernel, arguments.memory)
    write_csv(arguments.output, [row], COLUMNS)
    print(tabulate([row], headers="keys", tablefmt="github"))
    return 0


def measured(folder: Path, sharp: np.ndarray, size: int, gigabytes: float) -> dict[str, object]:
    """A row of COLUMNS for `sharp` (H, W, 3), a kernel of `size` pixels and a limit of memory."""
    height, width = sharp.shape[:2]
    kernel = write_kernel(folder / "kernel.png", kernel_of_size(size))
    x, k = torch.from_numpy(sharp).permute(2, 0, 1)[None], torch.from_numpy(kernel)[None].float()
    blurry = with_noise(Blur(k, x.shape[-2:])(x)[0].permute(1, 2, 0).numpy(), NOISE, seed=size)
    write_8bit(folder / "blurry.png", blurry)
    command = [sys.executable, ROOT / "codes" / "deblur.py", "--memory", str(gigabytes)]
    command += ["--input", folder / "blurry.png", "--kernel", folder / "kernel.png", "--output", folder / "sharp.png"]
    start = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise UserError(f"codes/deblur.py failed (status {done.returncode}); its own line above says why")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    restored = to_8bit(read_image(folder / "sharp.png"))
    return {
        "image": f"{width}x{height}",
        "megapixels": f"{width * height / 1e6:.1f}",
        "kernel": f"{size}x{size}",
        "memory_limit_gb": f"{gigabytes:g}",
        "peak_gb": f"{usage.ru_maxrss * 1024 / 1e9:.2f}",  # kB on Linux
        "minutes": f"{seconds / 60:.1f}",
        "cpu_minutes": f"{(usage.ru_utime + usage.ru_stime) / 60:.1f}",
        "psnr_blurry": f"{psnr(to_8bit(sharp), np.asarray(blurry)):.2f}",
        "psnr": f"{psnr(to_8bit(sharp), restored):.2f}",
        "device": f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', torch.get_num_threads())} threads",
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
