"""Validation: restore held-out images with fixed kernels and score them as the tests do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import nn

from codes.data.images import to_8bit, write_8bit
from codes.data.triples import TripleDataset
from codes.metrics.quality import quality
from codes.models.restorer import Restorer
from codes.options import TestSet
from codes.utils.errors import UserError
from codes.utils.files import from_root
from codes.utils.processes import Processes


@dataclass(frozen=True)
class Scores:
    """Mean PSNR (dB) and SSIM over the images of one set."""

    psnr: float
    ssim: float


class Validation:
    """The validation sets. Raises UserError for missing folders or counts that differ."""

    def __init__(self, sets: Mapping[str, TestSet], max_images: int | None, group: Processes):
        self.group = group
        self.sets = {
            name: (s, TripleDataset(from_root(s.dataroot_GT), from_root(s.dataroot_LQ), from_root(s.dataroot_KM)))
            for name, s in sets.items()
        }
        self.work = [
            (name, index)
            for name, (_, dataset) in self.sets.items()
            for index in range(min(len(dataset), max_images or len(dataset)))
        ]

    def run(self, network: nn.Module, device: torch.device, folder: Path | None = None) -> dict[str, Scores]:
        """Score `network` on every set, shared out among the processes; the main one gets the result.

        The restored images are written to `folder`/<set>/ if one is given.
        """
        restorer = Restorer(network, device)
        scored = []
        for name, index in self.group.share(self.work):
            test_set, dataset = self.sets[name]
            triple = dataset[index]
            pixels = to_8bit(restorer.restore(triple.blurry, triple.kernel, test_set.noise_sigma).image)
            truth = to_8bit(triple.ground_truth)
            if truth.shape != pixels.shape:
                raise UserError(f"{test_set.dataroot_GT}: ground truth {truth.shape}, restored {pixels.shape}")
            scored.append((name, index, *quality(truth, pixels)[:2]))
            if folder is not None:
                write_8bit(folder / name / f"{triple.name}.png", pixels)
        scored = sorted(self.group.gather(scored))
        return {
            name: Scores(*(fmean(row[column] for row in scored if row[0] == name) for column in (2, 3)))
            for name in self.sets
            if self.group.is_main
        }

    def panels(self, network: nn.Module, device: torch.device) -> dict[str, np.ndarray]:
        """Of every set's first image: blurry with its kernel inset | restored | ground truth, uint8 (H, 3W, 3)."""
        restorer = Restorer(network, device)
        panels = {}
        for name, (test_set, dataset) in self.sets.items():
            triple = dataset[0]
            restored = restorer.restore(triple.blurry, triple.kernel, test_set.noise_sigma).image
            parts = [with_inset(triple.blurry, triple.kernel), restored, triple.ground_truth]
            panels[name] = to_8bit(np.concatenate([np.broadcast_to(part, (*part.shape[:2], 3)) for part in parts], 1))
        return panels


def with_inset(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The image (H, W, C) with its kernel, scaled to its maximum, in the upper left corner."""
    image = image.copy()
    height, width = min(kernel.shape[0], image.shape[0]), min(kernel.shape[1], image.shape[1])
    image[:height, :width] = (kernel / kernel.max())[:height, :width, None]
    return image
