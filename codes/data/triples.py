"""Test data: triples of a ground truth, a blurry image and a kernel, paired by sorted name (mode LQGTDB)."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from codes.data.images import list_images, read_image
from codes.data.kernels import KERNEL_SUFFIXES, check_fits, read_kernel, rotated
from codes.utils.errors import UserError, warn


@dataclass
class Triple:
    """One image of a test set. Images are float32 (H, W, C) in [0, 1], C = 3 or 1; the kernel (h, w) sums to 1."""

    name: str
    ground_truth: np.ndarray
    blurry: np.ndarray
    kernel: np.ndarray


class TripleDataset:
    """Three folders whose files form triples in the order of their names.

    rotate_kernels: the kernels were made for convolution and are rotated by 180 degrees when they are read.

    A file is read when its item is requested, but the counts are checked at once. Raises UserError for a missing or
    empty folder, counts that differ, or two blurry images of one name. Warns if the names of a triple do not even
    begin with the same letter.
    """

    def __init__(
        self, dataroot_GT: str | Path, dataroot_LQ: str | Path, dataroot_KM: str | Path, rotate_kernels: bool = False
    ):
        self.rotate_kernels = rotate_kernels
        files = (list_images(dataroot_GT), list_images(dataroot_LQ), list_images(dataroot_KM, KERNEL_SUFFIXES))
        if len(set(map(len, files))) > 1:
            listed = ", ".join(f"{len(paths)} in {paths[0].parent}" for paths in files)
            raise UserError(f"there has to be one ground truth and one kernel for each blurry image, but: {listed}")
        self.paths = list(zip(*files, strict=True))
        for (_, previous, _), (_, blurry, _) in pairwise(self.paths):
            if blurry.stem == previous.stem:
                raise UserError(f"{dataroot_LQ}: two images have the name {blurry.stem}")
        for truth, blurry, kernel in self.paths:
            if truth.stem[0] != blurry.stem[0]:
                warn(
                    f"{truth.name}, {blurry.name} and {kernel.name} are paired by their order; do they belong together?"
                )
                break

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The blurry image's file name without its suffix."""
        return self.paths[index][1].stem

    def digest(self) -> str:
        """SHA-256 of all files' bytes, in order."""
        digest = hashlib.sha256()
        for path in (path for triple in self.paths for path in triple):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def __getitem__(self, index: int) -> Triple:
        """Read one triple. Raises UserError for an unreadable file or sizes that differ."""
        truth_path, blurry_path, kernel_path = self.paths[index]
        truth, blurry = read_image(truth_path), read_image(blurry_path)
        if truth.shape[:2] != blurry.shape[:2]:
            raise UserError(
                f"{blurry_path}: {blurry.shape[1]}x{blurry.shape[0]} pixels, but its ground truth "
                f"{truth_path.name} has {truth.shape[1]}x{truth.shape[0]}"
            )
        kernel = read_kernel(kernel_path)
        if self.rotate_kernels:
            kernel = rotated(kernel)
        check_fits(kernel, blurry, kernel_path)
        return Triple(self.name(index), truth, blurry, kernel)
