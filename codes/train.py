"""Train the network of an option file.

    python codes/train.py -opt options/train/light.yml
    torchrun --nproc_per_node 8 codes/train.py -opt options/train/light.yml

Writes experiments/<name>/: models/ (the averaged weights: last.safetensors and, where there are
validation sets, best.safetensors), training_state/ (checkpoints), val_images/, validation.csv and options.yml; and
tb_logger/<name>. Interrupted at any time, the same command goes on from the last checkpoint.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

# Waiting threads that spin take the cores away from the data workers and from other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import nn
from torch.utils.data import DataLoader

sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.preparation import ensure_quickstart
from codes.data.training import Sample, Tickets, TrainingPatches, collate
from codes.models.archs.start_values import START_VALUES
from codes.models.factory import build_network, load_denoiser, load_pretrained
from codes.models.restorer import choose_device
from codes.models.weights import save_weights
from codes.options import Method, dump_options, load_options
from codes.training import checkpoint
from codes.training.monitor import Monitor
from codes.training.options import TrainOptions
from codes.training.trainer import Trainer
from codes.training.validation import Validation
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, from_root, write_text
from codes.utils.processes import Processes, processes


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--root", type=Path, default=ROOT, help="where experiments/ and tb_logger/ lie; default: here")
    parser.add_argument("--accept-changes", action="store_true", help="go on although the option file changed")
    arguments = parser.parse_args(argv)
    options = load_options(TrainOptions, arguments.opt, arguments.set)
    with processes(devices=True) as group:
        train(options, arguments.root, group, arguments.accept_changes)
    return 0


def train(options: TrainOptions, root: Path, group: Processes, accept_changes: bool = False) -> None:
    """Train to the end, from the last checkpoint if there is one."""
    recipe, train_set, folder = options.train, options.datasets.train, root / "experiments" / options.name

    # Network and trainer, as new or as the checkpoint left them.
    device = training_device(options, group)
    torch.manual_seed(recipe.manual_seed)
    network = build_network(options.network_G).to(device)
    if recipe.start_values is not None:
        START_VALUES[recipe.start_values](network)
    if train_set.masks and not getattr(network, "takes_mask", False):
        part = getattr(options.network_G, "solver", None)
        what = f"the x-step '{part}'" if part else options.network_G.which_model_G
        raise UserError(f"datasets.train.masks: {what} takes no mask; leave the key out")
    state = read_state(options, folder)
    if options.path.pretrain_model_G is not None and not state:
        load_pretrained(network, options.path.pretrain_model_G, options.path.strict_load)
    if options.path.pretrain_denoiser is not None and not state:
        load_denoiser(network, options.path.pretrain_denoiser)
    trainer = Trainer(network, recipe, device, group)
    if state:
        if not accept_changes:
            checkpoint.check_options(options, state["options"])
        trainer.load_state(state)
    if trainer.iteration > recipe.niter:
        raise UserError(f"train.niter is {recipe.niter}, but iteration {trainer.iteration} is reached already")
    if not group.agree(trainer.iteration):
        raise UserError("the processes found different checkpoints; experiments/ has to be on a disk of all nodes")
    best, hours = (state["best"], state["hours"]) if state else (0.0, 0.0)
    if state and state["validated_on"] != validated_on(options):
        best = 0.0

    # Data: the batches from the trainer's iteration on.
    if group.local_rank == 0:
        for data in (train_set, *options.datasets.val.values()):
            if data.embedded:
                ensure_quickstart(from_root(data.dataroot_GT).parent)
    group.barrier()
    patches = TrainingPatches(train_set, from_root(train_set.dataroot_GT), recipe.manual_seed)
    if state and not accept_changes:
        checkpoint.check_images(train_set.dataroot_GT, patches.identity, state["images"])
    tickets = Tickets.of(train_set, trainer.iteration, recipe.niter, group.rank, group.world_size)
    loader = DataLoader(
        patches,
        batch_sampler=tickets,
        num_workers=train_set.n_workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
    )

    # Validation and monitoring.
    validation = Validation(options.datasets.val, recipe.val_images, group)
    lines = {name: validation.run(method_network(method), device) for name, method in options.baselines.items()}
    monitor = None
    if group.is_main:
        write_text(folder / "options.yml", dump_options(options))
        tensorboard = root / "tb_logger" / options.name if options.use_tb_logger else None
        monitor = Monitor(folder, tensorboard, trainer.iteration, hours, dump_options(options))
        print(describe(options, trainer, patches, device, group), flush=True)

    def due(frequency: int) -> bool:
        return trainer.iteration % frequency == 0 or trainer.iteration == recipe.niter

    for batch, waited in timed(loader):
        figures = trainer.step(batch)
        trainer.check_finite(batch, folder / f"not_finite_{trainer.iteration}_{group.rank}")
        if monitor:
            monitor.step(figures, len(batch.sharp) * group.world_size, waited)
            if due(options.logger.print_freq):
                monitor.report(trainer.iteration, recipe.niter, trainer.scheduler.get_last_lr()[0], trainer.skipped)
        if due(recipe.val_freq) or due(options.logger.save_checkpoint_freq):
            trainer.check_weights()
        if due(recipe.val_freq):
            averaged = trainer.average.network
            outcome = validation.run(averaged, device, folder / "val_images")
            if monitor:
                notes = {"iteration": str(trainer.iteration)}
                save_weights(averaged, folder / "models" / "last.safetensors", notes=notes)
                monitor.validated(trainer.iteration, outcome, lines)
                reached = fmean(score.psnr for score in outcome.scores.values()) if outcome.scores else -math.inf
                if reached >= best:
                    best = reached
                    save_weights(averaged, folder / "models" / "best.safetensors", notes=notes)
        # Within a run of skipped steps the weights may be what is wrong: the checkpoints before it stay.
        sound = not trainer.skipped_in_a_row or trainer.iteration == recipe.niter
        if monitor and due(options.logger.save_checkpoint_freq) and sound:
            rest = {
                "options": dump_options(options),
                "images": patches.identity,
                "best": best,
                "validated_on": validated_on(options),
                "hours": monitor.hours(),
            }
            checkpoint.save(folder / "training_state", trainer.iteration, trainer.state() | rest)
    if monitor:
        monitor.close()
        print(f"Trained {trainer.iteration} iterations: {folder}", flush=True)


def training_device(options: TrainOptions, group: Processes) -> torch.device:
    """The device of this process. Raises UserError where only some of several processes have a GPU."""
    device = choose_device(options.gpu_ids, group.local_rank)
    if not group.agree(device.type):
        raise UserError(f"gpu_ids: {options.gpu_ids}: some processes have a GPU and others none; start fewer")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def validated_on(options: TrainOptions) -> str:
    """What a validation score was measured on: scores on other images can't be compared."""
    sets = {name: test_set.model_dump() for name, test_set in options.datasets.val.items()}
    return f"{sets} {options.train.val_images}"


def read_state(options: TrainOptions, folder: Path) -> dict[str, Any] | None:
    """The last checkpoint of the experiment, or the one that the option file names; None to begin anew.

    `resume_state` counts until the experiment has got beyond it, so that the same command goes on.
    """
    own = checkpoint.load_last(folder / "training_state")
    if options.path.resume_state is None:
        return own
    named = checkpoint.load(from_root(options.path.resume_state))
    return own if own and own["iteration"] > named["iteration"] else named


def method_network(method: Method) -> nn.Module:
    """A method of `baselines` with its weights."""
    network = build_network(method.network_G)
    load_pretrained(network, method.path.pretrain_model_G, method.path.strict_load)
    return network


def timed(loader: DataLoader) -> Iterator[tuple[Sample, float]]:
    """The loader's batches, each with the seconds that it was waited for."""
    batches = iter(loader)
    while True:
        start = time.perf_counter()
        try:
            batch = next(batches, None)
        except UserError as error:  # a worker's comes wrapped into its traceback
            raise UserError(str(error).rpartition("UserError: ")[2]) from None
        if batch is None:
            return
        yield batch, time.perf_counter() - start


def describe(
    options: TrainOptions, trainer: Trainer, patches: TrainingPatches, device: torch.device, group: Processes
) -> str:
    """One line on what is about to be trained."""
    count = sum(parameter.numel() for parameter in trainer.network.parameters())
    begin = f", going on from iteration {trainer.iteration}" if trainer.iteration else ""
    if trainer.iteration == options.train.niter:
        begin = f", all {trainer.iteration} iterations are done; give it another name to train anew"
    return (
        f"{options.name}: {options.network_G.which_model_G}, {count:,} parameters, {len(patches)} images, "
        f"{group.world_size} process(es) on {device.type}{begin}"
    )


if __name__ == "__main__":
    sys.exit(run_command_line(main))
