"""Train the network of an option file.

    python codes/train.py -opt options/train/light.yml
    torchrun --nproc_per_node 8 codes/train.py -opt options/train/light.yml

Results are in experiments/<name>/: models/ (the averaged weights: last.safetensors and, with validation sets,
best.safetensors), training_state/ (checkpoints), val_images/, validation.csv, train.log and options.yml; and in
tb_logger/<name>. Ctrl-C and SIGTERM save a checkpoint. The same command continues from the last checkpoint.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# Waiting threads must not spin: the data workers need the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch.utils.data import DataLoader

from codes.data.patches import Batches, Sample, TrainingPatches, collate
from codes.data.preparation import ensure_quickstart
from codes.models.factory import build_network, load_pretrained
from codes.models.network import Network
from codes.options import load_options
from codes.training import checkpoint
from codes.training.options import TrainOptions
from codes.training.run import Run, only_training
from codes.training.start_values import START_VALUES
from codes.training.stop import leave_group, stop_requests
from codes.training.trainer import Trainer
from codes.utils.devices import choose_device
from codes.utils.errors import UserError, run_command_line, warn
from codes.utils.files import ROOT, from_root
from codes.utils.processes import Processes, processes


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of experiments/ and tb_logger/; default: here")
    parser.add_argument("--accept-changes", action="store_true", help="continue although the option file changed")
    arguments = parser.parse_args(argv)
    options = load_options(TrainOptions, arguments.opt, arguments.set)
    with processes(devices=True) as group, only_training(arguments.root / "experiments" / options.name, group):
        return train(options, arguments.root, group, arguments.accept_changes)


def train(options: TrainOptions, root: Path, group: Processes, accept_changes: bool = False) -> int:
    """Train to the end or to a signal, from the last checkpoint if there is one; returns the exit status."""
    recipe, folder = options.train, root / "experiments" / options.name

    # Set-up: device, network, data, and what an earlier part of this training has left.
    device = training_device(options, group)
    state = last_state(options, folder)
    network = start_network(options, new=state is None)
    leave_out_useless_masks(options, network, group)
    patches = training_patches(options, group)
    trainer = Trainer(network.to(device), recipe, device, group)
    if state:
        if not accept_changes:
            checkpoint.check_unchanged(state, options, patches.identity)
        trainer.load_state(state)
    check_iteration(trainer, recipe.niter)
    loader = DataLoader(
        patches,
        batch_sampler=Batches(patches.options, trainer.iteration, recipe.niter, group.rank, group.world_size),
        num_workers=patches.options.n_workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_group,
    )
    run = Run(options, root, trainer, patches.identity, state)

    # Loop: step, report, validate, save, until the last iteration or a signal.
    with stop_requests(show=group.is_main) as stop:
        stopped_by = run.begin(stop)
        for batch, waited in () if stopped_by else batches_with_waiting_times(loader):
            metrics = trainer.step(batch)
            if device.type == "cpu" or run.due(options.logger.print_freq):  # a GPU would have to be waited for
                trainer.check_finite()
            run.report(metrics, len(batch.sharp), waited)
            if run.due(recipe.val_freq):
                run.validate(stop)
            stopped_by = group.largest(stop.signal)
            if stopped_by or run.due(options.logger.save_checkpoint_freq):
                run.save()
            if stopped_by:
                break

    # End.
    return run.end(stopped_by)


def training_device(options: TrainOptions, group: Processes) -> torch.device:
    """The device of this process. Raises UserError unless each has a GPU of its own, or none has."""
    device = choose_device(options.gpu_ids, group.local_rank)
    if not group.agree(device.type):
        raise UserError(f"gpu_ids: {options.gpu_ids}: only some of the processes have a GPU; start fewer")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        gpus = group.all_of(str(torch.cuda.get_device_properties(device).uuid))
        if len(set(gpus)) < len(gpus):
            raise UserError(f"gpu_ids: {len(gpus)} processes for {len(set(gpus))} GPUs; start one process for each GPU")
    return device


def last_state(options: TrainOptions, folder: Path) -> dict[str, Any] | None:
    """The last checkpoint of the experiment, or the one that the option file names; None to begin a new training.

    `resume_state` is used until the experiment itself is further, so that the same command continues it.
    """
    own = checkpoint.load_last(folder / "training_state")
    if options.path.resume_state is None:
        return own
    named = checkpoint.load(from_root(options.path.resume_state))
    return own if own and own["iteration"] > named["iteration"] else named


def start_network(options: TrainOptions, new: bool) -> Network:
    """The network of the option file; if it is new, with the weights to start from."""
    torch.manual_seed(options.train.manual_seed)
    network = build_network(options.network_G)
    paths, start_values = options.path, options.train.start_values
    # Looked up even if the training continues: a misspelt name is always an error.
    start = None if start_values is None else START_VALUES[start_values]
    if new and paths.pretrain_model_G is not None:
        load_pretrained(network, paths.pretrain_model_G, paths.strict_load)
    elif new and start is not None:
        start(network)
    if new and paths.pretrain_denoiser is not None:
        network.load_denoiser(paths.pretrain_denoiser)
    return network


def leave_out_useless_masks(options: TrainOptions, network: Network, group: Processes) -> None:
    """Set the probability of masks to 0, with a warning, if the network does not use them."""
    if options.datasets.train.masks and not network.takes_mask:
        options.datasets.train.masks = 0.0
        if group.is_main:
            warn(f"datasets.train.masks: this {type(network).__name__} does not use masks, so none are drawn")


def check_iteration(trainer: Trainer, niter: int) -> None:
    """Raise UserError if training is beyond its last iteration, or if the processes found different checkpoints."""
    if trainer.iteration > niter:
        raise UserError(f"train.niter is {niter}, but iteration {trainer.iteration} is reached already")
    if not trainer.group.agree(trainer.iteration):
        raise UserError("the processes found different checkpoints; experiments/ has to be on a disk of all nodes")


def training_patches(options: TrainOptions, group: Processes) -> TrainingPatches:
    """The training set. The first process of each machine makes embedded sets that are missing."""
    train_set = options.datasets.train
    if group.local_rank == 0:
        for data in (train_set, *options.datasets.val.values()):
            if data.embedded:
                ensure_quickstart(from_root(data.dataroot_GT).parent)
    group.barrier()
    return TrainingPatches(train_set, from_root(train_set.dataroot_GT), options.train.manual_seed)


def batches_with_waiting_times(loader: DataLoader) -> Iterator[tuple[Sample, float]]:
    """The loader's batches, each with the seconds of waiting before it."""
    batches = iter(loader)
    while True:
        start = time.perf_counter()
        try:
            batch = next(batches, None)
        except UserError as error:  # a data worker's error comes wrapped in its traceback
            raise UserError(str(error).rpartition("UserError: ")[2]) from None
        if batch is None:
            return
        yield batch, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(run_command_line(main))
