"""What a training tells while it runs: lines on the terminal, tensorboard, validation.csv."""

import time
from collections.abc import Mapping
from pathlib import Path

from codes.training.validation import Outcome
from codes.utils.files import read_csv, write_csv

CURVE_COLUMNS = ("iteration", "set", "psnr", "ssim", "hours")


class Monitor:
    """Collects the figures of every step and reports their means.

    tensorboard: folder of its event files, or None. begin: the iteration that training goes on
    from; what an interrupted run wrote beyond it is hidden or cut off.
    """

    def __init__(self, experiment: Path, tensorboard: Path | None, begin: int, hours: float, options: str):
        self.curve = experiment / "validation.csv"
        self.hours_before, self.started = hours, time.monotonic()
        self._forget()
        self._writer = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter  # a second's import, for those who use it

            self._writer = SummaryWriter(str(tensorboard), purge_step=begin + 1)
            self._writer.add_text("options", "    " + options.replace("\n", "\n    "))
        rows = read_csv(self.curve) if self.curve.is_file() else []
        self._rows = [row for row in rows if int(row["iteration"]) <= begin]

    def hours(self) -> float:
        """Hours of training so far, interrupted runs counted in."""
        return self.hours_before + (time.monotonic() - self.started) / 3600

    def step(self, figures: Mapping[str, float], images: int, waited: float) -> None:
        """Take in the figures of one step, the images it trained on and the seconds waited for them."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1
        self._images += images
        self._waited += waited

    def report(self, iteration: int, niter: int, learning_rate: float) -> None:
        """Report the means over the steps since the last report."""
        seconds = time.monotonic() - self._since
        figures = {name: total / self._steps for name, total in self._sums.items()}
        figures |= {
            "lr": learning_rate,
            "images_per_second": self._images / seconds,
            "data_wait_share": self._waited / seconds,
        }
        print(f"{iteration:8d}/{niter}  " + "  ".join(f"{k} {v:.4g}" for k, v in figures.items()), flush=True)
        if self._writer:
            for name, value in figures.items():
                self._writer.add_scalar(f"train/{name}", value, iteration)
        self._forget()

    def validated(self, iteration: int, outcome: Outcome, baselines: Mapping[str, Outcome]) -> None:
        """Report the network's scores, and in tensorboard beside them the baselines', with the panels."""
        scores = outcome.scores
        for name, score in scores.items():
            values = (iteration, name, f"{score.psnr:.4f}", f"{score.ssim:.6f}", f"{self.hours():.4f}")
            self._rows.append(dict(zip(CURVE_COLUMNS, map(str, values), strict=True)))
        write_csv(self.curve, self._rows, CURVE_COLUMNS)
        line = "  ".join(f"{name} {score.psnr:.2f} dB / {score.ssim:.4f}" for name, score in scores.items())
        print(f"{iteration:8d} validation  {line}", flush=True)
        if self._writer:
            for name, score in scores.items():
                lines = {"network": score} | {method: of.scores[name] for method, of in baselines.items()}
                self._writer.add_scalars(f"psnr/{name}", {k: s.psnr for k, s in lines.items()}, iteration)
                self._writer.add_scalars(f"ssim/{name}", {k: s.ssim for k, s in lines.items()}, iteration)
                panel = outcome.panels[name]
                self._writer.add_image(f"blurry_restored_truth/{name}", panel, iteration, dataformats="HWC")
        self._forget()

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _forget(self) -> None:
        """Begin new means; the time of a validation is not counted in."""
        self._sums: dict[str, float] = {}
        self._steps, self._images, self._waited, self._since = 0, 0, 0.0, time.monotonic()
