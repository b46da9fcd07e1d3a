"""Checkpoints: everything that training needs to continue as if it had never stopped."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from codes.options import dump_options
from codes.training.options import TrainOptions
from codes.utils.errors import UserError, warn
from codes.utils.files import write_atomic
from codes.utils.yaml_files import parse_yaml

# Number of checkpoints that are kept: if the last one is damaged, the one before is used.
KEPT = 2
# Options that may differ on resuming, because they do not change what is trained.
WITHOUT_EFFECT = (
    "name",
    "gpu_ids",
    "use_tb_logger",
    "logger",
    "path.resume_state",
    "path.strict_load",
    "baselines",
    "datasets.train.n_workers",
    "datasets.val",
    "train.val_freq",
    "train.val_images",
)
SUFFIX = ".state"
# Keys that every checkpoint has: those of Trainer.state and of Run.save.
KEYS = {"iteration", "skipped", "skipped_in_a_row", "network", "average", "optimizer", "scheduler"}
KEYS |= {"options", "images", "best", "validated_on", "hours"}


def save(folder: Path, iteration: int, state: Mapping[str, Any]) -> Path:
    """Write checkpoint `iteration` completely or not at all, and remove all but the last ones.

    Raises UserError if it cannot be written; the earlier ones then stay as they are.
    """
    path = folder / f"{iteration:08d}{SUFFIX}"
    for left_over in folder.glob(f".*{SUFFIX}"):  # from a process that was killed while it wrote
        left_over.unlink()
    try:
        write_atomic(path, lambda temporary: torch.save(dict(state), temporary))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: the checkpoint could not be written ({reason}); is the disk full?") from None
    paths = existing(folder)
    following = paths.index(path) + 1
    # Later ones belong to a run that was abandoned by resuming from an earlier checkpoint.
    for other in (*paths[: max(following - KEPT, 0)], *paths[following:]):
        other.unlink()
    return path


def load(path: Path) -> dict[str, Any]:
    """Read one checkpoint. Raises UserError for a missing or damaged file."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself ignores the checksums
            sound = archive.testzip() is None
        state = torch.load(path, map_location="cpu", weights_only=True) if sound else {}
    except Exception:  # a damaged file can raise nearly anything
        state = {}
    numbers = ("iteration", "skipped", "skipped_in_a_row", "best", "hours")
    if (
        not isinstance(state, dict)
        or not state.keys() >= KEYS
        or not all(isinstance(state[key], (int, float)) for key in numbers)
    ):
        raise UserError(f"{path}: not a readable checkpoint; is it damaged?")
    return state


def load_last(folder: Path) -> dict[str, Any] | None:
    """The last readable checkpoint of a folder, with a warning for each damaged one; None if there is none.

    Raises UserError if there are checkpoints and all of them are damaged.
    """
    paths = existing(folder)
    for path in reversed(paths):
        try:
            return load(path)
        except UserError as error:
            warn(f"{error} Using the checkpoint before it.")
    if paths:
        raise UserError(f"{folder}: no readable checkpoint; remove the folder to start again")
    return None


def check_unchanged(state: Mapping[str, Any], options: TrainOptions, images: str) -> None:
    """Raise UserError if the options, or the identity of the training images, are not those of a checkpoint.

    Options that do not change what is trained may differ. Options that did not exist then count as not set.
    """
    now, then = (_flat(parse_yaml(text, "checkpoint")) for text in (dump_options(options), _complete(state["options"])))
    differing = [
        f"{key} was {then.get(key, 'not set')}, is {now.get(key, 'not set')}"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key) and not key.startswith(WITHOUT_EFFECT)
    ]
    if state["images"] != images:
        folder = options.datasets.train.dataroot_GT
        differing.append(f"datasets.train.dataroot_GT: {folder} held {state['images']}, holds {images}")
    if differing:
        raise UserError(
            f"changed since the checkpoint: {'; '.join(differing)}. Change it back, train under another name, or "
            "continue with the change by --accept-changes"
        )


def _complete(saved: str) -> str:
    """Dumped options with the defaults of newer keys added; unchanged if they hold a key that no longer exists."""
    content = parse_yaml(saved, "checkpoint") if isinstance(saved, str) else None
    if not isinstance(content, Mapping):
        raise UserError("the checkpoint holds no options; is it damaged? Use another one")
    try:
        return dump_options(TrainOptions.model_validate(content))
    except ValidationError:
        return saved


def existing(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the last one at the end."""
    return sorted(folder.glob(f"[0-9]*{SUFFIX}")) if folder.is_dir() else []


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
