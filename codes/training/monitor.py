"""Reports of a training: lines on the terminal and in train.log, tensorboard, validation.csv."""

import csv
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from codes.training.validation import Scores, ValidationResult
from codes.utils.errors import UserError
from codes.utils.files import naming, read_csv, write_csv

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CURVE_COLUMNS = ("iteration", "set", "psnr", "ssim", "hours")
# Longest time without a line on the progress, in seconds.
LONGEST_SILENCE = 60.0


class Monitor:
    """Collects the metrics of every step and reports their means.

    experiment: folder of train.log and validation.csv. tensorboard: folder of its event files, or None. resumed_at: the
    iteration of the checkpoint that training continues from, None for a new one; what an interrupted run wrote after
    that iteration is removed, or hidden in tensorboard.
    """

    def __init__(
        self, experiment: Path, tensorboard: Path | None, resumed_at: int | None, niter: int, hours: float, options: str
    ):
        self.curve, self.niter = experiment / "validation.csv", niter
        self.hours_before, self.started = hours, time.monotonic()
        self._reported = False
        self._begin_means()
        self._tensorboard, self._resumed_at = tensorboard, -1 if resumed_at is None else resumed_at
        self._writers: dict[str, SummaryWriter] = {}
        if tensorboard:
            self._writer().add_text("options", "    " + options.replace("\n", "\n    "))
        self._rows = [row for row in read_curve(self.curve) if int(row["iteration"]) <= self._resumed_at]
        experiment.mkdir(parents=True, exist_ok=True)
        self._log = open(  # noqa: SIM115 closed by close()
            experiment / "train.log", "a", encoding="utf-8", errors="backslashreplace", buffering=1
        )

    def hours(self) -> float:
        """Hours of training so far, including interrupted runs."""
        return self.hours_before + (time.monotonic() - self.started) / 3600

    def log(self, line: str) -> None:
        """Print a line and write it to train.log with the time."""
        print(line, flush=True)
        with naming(self._log.name):
            self._log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}\n")

    def step(self, metrics: Mapping[str, float], images: int, waited: float) -> None:
        """Add the metrics of one step, the number of its images, and the seconds waited for them."""
        self._sums.update(metrics)  # a Counter adds
        self._steps += 1
        self._images += images
        self._waited += waited

    def silent(self) -> bool:
        """True until the first report, and again a minute after the last one."""
        return not self._reported or time.monotonic() - self._since > LONGEST_SILENCE

    def report(self, iteration: int, learning_rate: float, skipped: int) -> None:
        """Report the means over the steps since the last report, and the number of steps skipped so far."""
        self._reported = True
        seconds = time.monotonic() - self._since
        metrics = {name: float(total) / self._steps for name, total in self._sums.items()}
        metrics |= {"lr": learning_rate, "skipped": skipped}
        metrics |= {"images_per_second": self._images / seconds, "data_wait_share": self._waited / seconds}
        line = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        left = timedelta(seconds=round((self.niter - iteration) * seconds / self._steps))
        self.log(f"{iteration:8d}/{self.niter}  {line}  {left} left")
        if self._tensorboard:
            with naming(self._tensorboard):
                for name, value in metrics.items():
                    self._writer().add_scalar(f"train/{name}", value, iteration)
        self._begin_means()

    def report_validation(
        self, iteration: int, result: ValidationResult, baselines: Mapping[str, ValidationResult]
    ) -> None:
        """Report the scores and panels, in tensorboard together with the scores of the start and the baselines.

        Does nothing without validation sets.
        """
        if not result.scores:
            return
        for name, score in result.scores.items():
            values = (iteration, name, f"{score.psnr:.4f}", f"{score.ssim:.6f}", f"{self.hours():.4f}")
            self._rows.append(dict(zip(CURVE_COLUMNS, map(str, values), strict=True)))
        write_csv(self.curve, self._rows, CURVE_COLUMNS)
        scores = "  ".join(f"{name} {score.psnr:.2f} dB / {score.ssim:.4f}" for name, score in result.scores.items())
        self.log(f"{iteration:8d} validation  {scores}")
        if self._tensorboard:
            lines = {"network": result.scores, "start": self.start()}
            lines |= {name: baseline.scores for name, baseline in baselines.items()}
            with naming(self._tensorboard):
                self._draw(iteration, lines, result)
        self._begin_means()

    def _draw(self, iteration: int, lines: Mapping[str, Mapping[str, Scores]], result: ValidationResult) -> None:
        """Write the scores of each line, and the panels, to tensorboard."""
        for method, scores_of in lines.items():
            for name in result.scores.keys() & scores_of.keys():
                self._writer(method).add_scalar(f"psnr/{name}", scores_of[name].psnr, iteration)
                self._writer(method).add_scalar(f"ssim/{name}", scores_of[name].ssim, iteration)
        for name, panel in result.panels.items():
            self._writer().add_image(f"blurry_restored_truth/{name}", panel, iteration, dataformats="HWC")

    def start(self) -> dict[str, Scores]:
        """The scores of each validation set before the first step of a fine-tuning; {} if they were not measured."""
        rows = [row for row in self._rows if row["iteration"] == "0"]
        return {row["set"]: Scores(float(row["psnr"]), float(row["ssim"])) for row in rows}

    def close(self) -> None:
        self._log.close()
        with naming(self._tensorboard or ""):
            for writer in self._writers.values():
                writer.flush()  # raises what the writer's thread could not write
                writer.close()

    def _writer(self, line: str = "") -> "SummaryWriter":
        """The tensorboard writer of a method's line. Lines with the same tag are drawn into one chart."""
        if line not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # takes a second, and not everyone uses it

            # The writer's thread ends at an OSError, which is raised again at the next call.
            threading.excepthook = lambda what: isinstance(what.exc_value, OSError) or threading.__excepthook__(what)
            self._writers[line] = SummaryWriter(str(self._tensorboard / line), purge_step=self._resumed_at + 1)
        return self._writers[line]

    def _begin_means(self) -> None:
        """Begin new means, without the time of a validation."""
        self._sums: Counter[str] = Counter()
        self._steps, self._images, self._waited, self._since = 0, 0, 0.0, time.monotonic()


def read_curve(curve: Path) -> list[dict[str, str]]:
    """The rows of a validation.csv, none if it does not exist. Raises UserError if it is damaged."""
    try:
        rows = read_csv(curve) if curve.is_file() else []
        for row in rows:
            int(row["iteration"]), Scores(float(row["psnr"]), float(row["ssim"])), row["set"] + row["hours"]
    except (ValueError, KeyError, TypeError, csv.Error):
        raise UserError(f"{curve}: is damaged; repair it, or remove it to begin a new one") from None
    return rows
