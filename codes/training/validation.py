"""Validation: restore held-out images with fixed kernels and score them as the tests do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch

from codes.data.images import as_rgb, to_8bit, write_8bit
from codes.data.kernels import with_inset
from codes.evaluation.metrics import quality
from codes.evaluation.run import open_set
from codes.inference.noise_level import noise_level
from codes.inference.restorer import Restorer
from codes.models.network import Network
from codes.options import TestSet
from codes.utils.processes import Processes
from codes.utils.progress import Progress


class Scores(NamedTuple):
    """Mean PSNR (dB) and SSIM over the images of one set."""

    psnr: float
    ssim: float


class ValidationResult(NamedTuple):
    """The result of a validation; only the main process has it, the others have empty dictionaries.

    scores: by set. panels: for each set its first image, (H, 3W, 3) uint8: blurry with its kernel, restored, truth.
    """

    scores: dict[str, Scores]
    panels: dict[str, np.ndarray]

    @property
    def mean_psnr(self) -> float | None:
        """Mean PSNR (dB) over the sets, or None without sets."""
        return fmean(score.psnr for score in self.scores.values()) if self.scores else None


class Validation:
    """The validation sets. Raises UserError for missing folders or counts that differ.

    estimate: networks get the noise level that deblur.py gives them.
    """

    def __init__(self, sets: Mapping[str, TestSet], max_images: int | None, group: Processes, estimate: bool = False):
        self.group, self.estimate = group, estimate
        self.sets = {name: (test_set, open_set(test_set)) for name, test_set in sets.items()}
        self.work = [
            (name, index)
            for name, (_, dataset) in self.sets.items()
            for index in range(min(len(dataset), max_images or len(dataset)))
        ]

    def run(
        self,
        network: Network,
        device: torch.device,
        folder: Path | None = None,
        stopped: Callable[[], bool] = lambda: False,
        title: str = "",
    ) -> ValidationResult:
        """Score `network` on every set, with the work split among the processes; the main one gets the result.

        folder: the restored images are written to <folder>/<set>/ if it is given. stopped: asked before every
        image; the outcome is incomplete once it returned True. title: a name of the network, to print a line and show
        the progress.
        """
        restorer = Restorer(network, device)
        scored, panels, work = [], [], self.group.share(self.work)
        show = bool(title and work and self.group.is_main)
        if show:
            print(f"validating {title} ...", flush=True)
        with Progress(len(work), "images", show=show) as progress:
            for name, index in work:
                if stopped():
                    break
                test_set, dataset = self.sets[name]
                triple = dataset[index]
                estimate = self.estimate and not network.uses_true_sigma
                sigma = noise_level(triple.blurry, triple.kernel) if estimate else None
                pixels = to_8bit(
                    restorer.restore(triple.blurry, triple.kernel, test_set.noise_sigma, sigma=sigma).image
                )
                truth = to_8bit(triple.ground_truth)
                scored.append((name, index, *quality(truth, pixels)[:2]))
                if folder is not None:
                    write_8bit(folder / name / f"{triple.name}.png", pixels)
                if index == 0:
                    blurry = to_8bit(with_inset(triple.blurry, triple.kernel))
                    panels.append((name, np.concatenate([as_rgb(part) for part in (blurry, pixels, truth)], 1)))
                progress.update()
        # Sorted, so that the means do not depend on the number of processes.
        scored = sorted(self.group.gather(scored))
        by_set = {name: [row[2:] for row in scored if row[0] == name] for name in self.sets}
        scores = {name: Scores(*map(fmean, zip(*rows, strict=True))) for name, rows in by_set.items() if rows}
        return ValidationResult(scores, dict(self.group.gather(panels)))
