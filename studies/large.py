"""The time and memory that codes/deblur.py needs for a large image.

    python studies/large.py

Blurs a mosaic of 6000x4000 pixels with a kernel of 75 pixels and little noise and lets codes/deblur.py restore it
within 8 GB. Writes the process's peak memory, its minutes (wall clock and processor) and the PSNR (dB) before and
after to results/published/large.csv.
"""

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

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.images import read_image, to_8bit, write_8bit
from codes.data.kernels import write_kernel
from codes.evaluation.metrics import psnr
from codes.utils.arguments import positive, positive_number
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT
from studies import harness


def main(argv: Sequence[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=positive, nargs=2, default=(4000, 6000), help="rows, columns; default 4000 6000")
    parser.add_argument("--kernel", type=positive, default=75, help="side of the kernel, default 75")
    parser.add_argument("--memory", type=positive_number, default=8.0, help="limit in GB, default 8")
    parser.add_argument("--images", type=Path, help="folder of colour images for the mosaic, default: Train/GT")
    arguments = parser.parse_args(argv)
    sharp = harness.mosaic(*arguments.size, arguments.images or arguments.data / "Train" / "GT")
    with TemporaryDirectory() as folder:
        row = measure(Path(folder), sharp, arguments.kernel, arguments.memory)
    harness.publish(arguments.output, "large", [row])
    return 0


def measure(folder: Path, sharp: np.ndarray, size: int, gigabytes: float) -> harness.Row:
    """The row of large.csv for a sharp image (H, W, 3), a kernel of `size` pixels and a memory limit."""
    height, width = sharp.shape[:2]
    kernel = write_kernel(folder / "kernel.png", harness.kernel_of_size(size))
    blurry = harness.blur_and_noise(sharp, kernel, seed=size)
    write_8bit(folder / "blurry.png", blurry)
    command = [sys.executable, ROOT / "codes" / "deblur.py", "--memory", str(gigabytes)]
    command += ["--input", folder / "blurry.png", "--kernel", folder / "kernel.png", "--output", folder / "sharp.png"]
    start = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise UserError(f"codes/deblur.py failed (status {done.returncode}); its own message is above")
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
        "psnr_blurry": f"{psnr(to_8bit(sharp), blurry):.2f}",
        "psnr": f"{psnr(to_8bit(sharp), restored):.2f}",
        "device": f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', torch.get_num_threads())} threads",
    }


if __name__ == "__main__":
    sys.exit(run_command_line(main))
