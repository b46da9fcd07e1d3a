"""What every study shares: arguments, test images, the network on whole images, and the CSV file of results.

Most studies measure one table that the docs show: they write results/published/<study>.csv and print the table.
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from codes.data.degradation import with_noise
from codes.data.images import list_images, read_image
from codes.data.kernel_generator import camera_shake, delta
from codes.inference.restorer import Restorer
from codes.models.network import Network
from codes.models.paper.blur import Blur
from codes.utils.errors import UserError
from codes.utils.files import PUBLISHED, ROOT, write_csv

DATA = ROOT / "Datasets"
NOISE = 0.003  # standard deviation of the noise of `blur_and_noise`
PIECE = 256, 320  # rows and columns of each piece of a mosaic

Row = dict[str, object]


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all studies have: --data and --output."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA, help="folder of the data sets; default: Datasets")
    made.add_argument("--output", type=Path, default=PUBLISHED, help="folder of the table; default: results/published")
    return made


def publish(folder: Path, study: str, rows: Sequence[Row]) -> None:
    """Write the rows to <folder>/<study>.csv and print them."""
    write_csv(folder / f"{study}.csv", rows, list(rows[0]))
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


def restored(
    network: Network,
    blurry: np.ndarray,
    kernel: np.ndarray,
    mask: np.ndarray | None = None,
    tile: int | str = "auto",
) -> np.ndarray:
    """The image (H, W, C) that codes/deblur.py gives for a blurry image (H, W, C) and a kernel (h, w)."""
    return Restorer(network, tile=tile).restore(blurry, kernel, mask=mask).image


def kernel_of_size(size: int) -> np.ndarray:
    """A camera shake of `size` pixels, the same at every call; a delta for size 1."""
    return camera_shake(np.random.RandomState(size), size) if size > 1 else delta(1)


def mosaic(height: int, width: int, folder: Path) -> np.ndarray:
    """The upper left corners of a folder's images next to each other: (height, width, 3), float32 in [0, 1].

    Grey images and those smaller than PIECE are skipped. Raises UserError if too few remain, if the folder is
    missing or if an image cannot be read.
    """
    rows, columns = (-(-length // side) for length, side in zip((height, width), PIECE, strict=True))
    images = (read_image(path)[: PIECE[0], : PIECE[1]] for path in list_images(folder))
    pieces = list(islice((image for image in images if image.shape == (*PIECE, 3)), rows * columns))
    if len(pieces) < rows * columns:
        needed = f"{rows * columns} colour images of at least {PIECE[0]} rows and {PIECE[1]} columns"
        raise UserError(f"{folder}: the mosaic needs {needed}, but there are {len(pieces)}")
    lines = [np.concatenate(pieces[row * columns : (row + 1) * columns], 1) for row in range(rows)]
    return np.concatenate(lines)[:height, :width]


def blur_and_noise(sharp: np.ndarray, kernel: np.ndarray, seed: int) -> np.ndarray:
    """A sharp image (H, W, C) in [0, 1] blurred by a kernel (h, w), with NOISE, as uint8."""
    x, k = torch.from_numpy(sharp).permute(2, 0, 1)[None], torch.from_numpy(kernel)[None].float()
    return with_noise(Blur(k, x.shape[-2:])(x)[0].permute(1, 2, 0).numpy(), NOISE, seed=seed)
