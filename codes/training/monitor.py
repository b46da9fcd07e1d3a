"""What a training tells while it runs: lines on the terminal, tensorboard, validation.csv."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from codes.training.validation import Outcome
from codes.utils.files import read_csv, write_csv

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

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
        self._tensorboard, self._begin = tensorboard, begin
        self._lines: dict[str, SummaryWriter] = {}
        self._writer = self._open(tensorboard) if tensorboard else None
        if self._writer:
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

    def report(self, iteration: int, niter: int, learning_rate: float, skipped: int) -> None:
        """Report the means over the steps since the last report, and the number of steps skipped so far."""
        seconds = time.monotonic() - self._since
        figures = {name: total / self._steps for name, total in self._sums.items()}
        figures |= {
            "skipped": skipped,
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
        """Report the network's scores, and in tensorboard beside them the baselines', with the panels.

        Nothing without validation sets.
        """
        if not outcome.scores:
            return
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
                for method, line in lines.items():
                    self._line(method).add_scalar(f"psnr/{name}", line.psnr, iteration)
                    self._line(method).add_scalar(f"ssim/{name}", line.ssim, iteration)
                panel = outcome.panels[name]
                self._writer.add_image(f"blurry_restored_truth/{name}", panel, iteration, dataformats="HWC")
        self._forget()

    def close(self) -> None:
        for writer in (self._writer, *self._lines.values()):
            if writer:
                writer.close()

    def _open(self, folder: Path) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # a second's import, for those who use it

        return SummaryWriter(str(folder), purge_step=self._begin + 1)

    def _line(self, method: str) -> "SummaryWriter":
        """The writer of a method's line: tensorboard draws those of one tag into one chart."""
        if method not in self._lines:
            self._lines[method] = self._open(self._tensorboard / method)
        return self._lines[method]

    def _forget(self) -> None:
        """Begin new means; the time of a validation is not counted in."""
        self._sums: dict[str, float] = {}
        self._steps, self._images, self._waited, self._since = 0, 0, 0.0, time.monotonic()
