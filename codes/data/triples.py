"""The test data: (ground truth, blurry, kernel) triples, paired by sorted name (mode LQGTDB)."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from codes.data.images import list_images, read_image
from codes.data.kernels import KERNEL_SUFFIXES, check_fits, read_kernel
from codes.utils.errors import UserError, warn


@dataclass
class Triple:
    """One image of a test set. Images are float32 (H, W, C) in [0, 1], C = 3 or 1; the kernel (h, w) sums to 1."""

    name: str
    ground_truth: np.ndarray
    blurry: np.ndarray
    kernel: np.ndarray


class TripleDataset:
    """Three folders of files that belong together one to one, in the order of their names.

    Nothing is read before an item is asked for, but the counts are checked at once.
    Raises UserError for a missing or empty folder, counts that differ, or two blurry images of
    one name; warns where the names of a pair don't even begin alike.
    """

    def __init__(self, dataroot_GT: str | Path, dataroot_LQ: str | Path, dataroot_KM: str | Path):
        self.paths = list(
            self._paired(
                GT=list_images(dataroot_GT),
                LQ=list_images(dataroot_LQ),
                KM=list_images(dataroot_KM, KERNEL_SUFFIXES),
            )
        )

        stems = [blurry.stem for _, blurry, _ in self.paths]
        for previous, stem in pairwise(stems):
            if stem == previous:
                raise UserError(f"{dataroot_LQ}: holds two images called {stem}")
        for truth, blurry, kernel in self.paths:
            if truth.stem[0] != blurry.stem[0]:
                warn(f"{truth.name}, {blurry.name} and {kernel.name} are taken to belong together; do they?")
                break

    @staticmethod
    def _paired(**files: list[Path]) -> zip:
        counts = {kind: len(paths) for kind, paths in files.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{counts[kind]} in {paths[0].parent}" for kind, paths in files.items())
            raise UserError(f"ground truths, blurry images and kernels belong together one to one, but: {listed}")
        return zip(*files.values(), strict=True)

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
        check_fits(kernel, blurry, kernel_path)
        return Triple(self.name(index), truth, blurry, kernel)
