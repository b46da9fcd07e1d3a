"""Validation, checkpoints and reports between training steps."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from codes.evaluation.run import open_method
from codes.models.weights import read_notes, save_weights
from codes.options import dump_options
from codes.training import checkpoint
from codes.training.monitor import Monitor
from codes.training.options import TrainOptions
from codes.training.stop import StopRequest
from codes.training.trainer import Trainer
from codes.training.validation import Validation
from codes.utils.errors import UserError
from codes.utils.files import remove_left_overs, write_text
from codes.utils.processes import Processes


@contextmanager
def only_training(folder: Path, group: Processes) -> Iterator[None]:
    """Within the block, no other training can use this experiment's folder. Raises UserError if one uses it.

    What a training that was killed left half-written there is removed.
    """
    if not group.is_main:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            # lockf rather than flock: data workers would keep the lock of a process that was killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(f"{folder}: another training writes there; wait for it, or change `name`") from None
        remove_left_overs(folder)
        yield


class Run:
    """Validates, saves and reports a training. Only the main process writes files and prints.

    root: folder of experiments/ and tb_logger/. images: identity of the training images. state: the checkpoint that
    training continues from, None for a new one.
    """

    def __init__(
        self, options: TrainOptions, root: Path, trainer: Trainer, images: str, state: Mapping[str, Any] | None
    ):
        self.options, self.trainer, self.images, self.group = options, trainer, images, trainer.group
        self.folder = root / "experiments" / options.name
        self.best, self.validated, hours = 0.0, -1, 0.0
        if state:
            hours = state["hours"]
            # Scores on other validation images cannot be compared.
            if state["validated_on"] == validated_on(options):
                # Checkpoints before 26 November 2026 have no "validated".
                self.best, self.validated = state["best"], state.get("validated", trainer.iteration)
        self.validation = Validation(
            options.datasets.val, options.train.val_images, self.group, options.train.noise_level == "deblur"
        )
        self.baselines = {
            name: self.validation.run(open_method(method), trainer.device, title=f"the baseline {name}")
            for name, method in options.baselines.items()
        }
        self.monitor = None
        if self.group.is_main:
            write_text(self.folder / "options.yml", dump_options(options))
            tensorboard = root / "tb_logger" / options.name if options.use_tb_logger else None
            resumed_at = trainer.iteration if state else None
            self.monitor = Monitor(
                self.folder, tensorboard, resumed_at, options.train.niter, hours, dump_options(options)
            )

    def begin(self, stop: StopRequest) -> int:
        """Say what is trained. Validate the start of a fine-tuning, or what an interrupted validation left out.

        Returns the number of the signal that interrupted it, 0 if none did. No checkpoint is written before the start
        is scored, since a later run could not score it.
        """
        iteration = self.trainer.iteration
        if self.monitor:
            self.monitor.log(self._description())
        fine_tuning = self.options.path.pretrain_model_G is not None
        if self.due(self.options.train.val_freq) and self.validated != iteration and (iteration or fine_tuning):
            self.validate(stop, f"iteration {iteration}" if iteration else "the start")
            if self.validated == iteration:
                self.save()
        return self.group.largest(stop.signal)

    def due(self, frequency: int) -> bool:
        """True at every multiple of `frequency` iterations and at the end."""
        return self.trainer.iteration % frequency == 0 or self.trainer.iteration == self.options.train.niter

    def report(self, metrics: Mapping[str, float], images: int, waited: float) -> None:
        """Add one step's metrics, the number of its images in this process and the seconds waited for them."""
        trainer = self.trainer
        if self.monitor:
            self.monitor.step(metrics, images * self.group.world_size, waited)
            if self.due(self.options.logger.print_freq) or self.monitor.silent():
                self.monitor.report(trainer.iteration, trainer.learning_rate, trainer.skipped)

    def validate(self, stop: StopRequest, title: str = "") -> None:
        """Score the averaged weights and save them. A signal ends it early and without a result.

        title: what is validated, to announce it and show the progress.
        """
        trainer, models = self.trainer, self.folder / "models"
        trainer.check_weights()
        averaged = trainer.average.module
        outcome = self.validation.run(
            averaged, trainer.device, self.folder / "val_images", lambda: bool(stop.signal), title
        )
        if self.group.largest(stop.signal):
            return
        self.validated = trainer.iteration
        if self.monitor:
            notes = {"iteration": str(trainer.iteration)}
            save_weights(averaged, models / "last.safetensors", notes=notes)
            self.monitor.report_validation(trainer.iteration, outcome, self.baselines)
            if outcome.mean_psnr is not None and outcome.mean_psnr >= self.best:
                self.best = outcome.mean_psnr
                save_weights(averaged, models / "best.safetensors", notes=notes)

    def save(self) -> None:
        """Write a checkpoint, unless recent steps were skipped as not finite: the weights may be the cause."""
        trainer = self.trainer
        trainer.check_weights()
        if not self.monitor or (trainer.skipped_in_a_row and trainer.iteration < self.options.train.niter):
            return
        rest = {
            "options": dump_options(self.options),
            "images": self.images,
            "best": self.best,
            "validated": self.validated,
            "validated_on": validated_on(self.options),
            "hours": self.monitor.hours(),
        }
        checkpoint.save(self.folder / "training_state", trainer.iteration, trainer.state() | rest)

    def end(self, signal: int) -> int:
        """Say how training ended. Returns the exit status: 0, or 128 + the number of the signal that stopped it."""
        if self.monitor:
            iteration = self.trainer.iteration
            if signal:
                paths = checkpoint.existing(self.folder / "training_state")
                then = f"continues from {paths[-1]}" if paths else "begins again"
                self.monitor.log(f"Stopped at iteration {iteration}; the same command {then}")
            else:
                self.monitor.log(f"Trained {iteration} iterations: {self.folder}{self._verdict()}")
            self.monitor.close()
        return 128 + signal if signal else 0

    def _verdict(self) -> str:
        """Which iteration is best, and whether it beats the start of a fine-tuning; nothing without validation sets."""
        sets = self.options.datasets.val
        if not sets:
            return ""
        best = read_notes(self.folder / "models" / "best.safetensors")["iteration"]
        mean = f"{self.best:.2f} dB on average over the validation sets"
        if best == "0":
            return f". No iteration beats the start ({mean}): best.safetensors holds the start's weights."
        start, better = self.monitor.start(), ""
        if start.keys() >= sets.keys():
            better = f"; {self.best - fmean(start[name].psnr for name in sets):.2f} dB better than the start"
        return f". Best: iteration {best}, {mean}{better}."

    def _description(self) -> str:
        """One line on what is about to be trained."""
        options, trainer = self.options, self.trainer
        count = sum(parameter.numel() for parameter in trainer.network.parameters())
        images = self.images.partition(" with")[0]
        begin = f", continuing from iteration {trainer.iteration}" if trainer.iteration else ""
        if trainer.iteration == options.train.niter:
            begin = f", all {trainer.iteration} iterations are done; change `name` to train again"
        return (
            f"{options.name}: {options.network_G.which_model_G}, {count:,} parameters, {images}, "
            f"{self.group.world_size} process(es) on {trainer.device.type}{begin}"
        )


def validated_on(options: TrainOptions) -> str:
    """What a validation score was measured on."""
    sets = {name: test_set.model_dump() for name, test_set in options.datasets.val.items()}
    return f"{sets} {options.train.val_images}"
