"""Checkpoints: everything that training needs to go on as if it had never stopped."""

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

KEPT = 2
"""Checkpoints that stay: should the last one be damaged, the one before is there."""
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
    "train.max_nonfinite",
)
"""Options that may differ when training goes on: they do not change what is trained."""
SUFFIX = ".state"
KEYS = {"iteration", "network", "average", "optimizer", "scheduler", "options", "images"}
"""What every checkpoint holds, at least."""


def save(folder: Path, iteration: int, state: Mapping[str, Any]) -> Path:
    """Write checkpoint `iteration` whole or not at all, and remove all but the last ones.

    Raises UserError where it can't be written; the earlier ones are untouched then.
    """
    path = folder / f"{iteration:08d}{SUFFIX}"
    for left_over in folder.glob(f".*{SUFFIX}"):  # of a process that was killed while it wrote
        left_over.unlink()
    try:
        write_atomic(path, lambda temporary: torch.save(dict(state), temporary))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: the checkpoint could not be written ({reason}); is the disk full?") from None
    existing = _existing(folder)
    following = existing.index(path) + 1
    # Later ones are of a course that was left by going on from an earlier checkpoint.
    for other in (*existing[: max(following - KEPT, 0)], *existing[following:]):
        other.unlink()
    return path


def load(path: Path) -> dict[str, Any]:
    """Read one checkpoint. Raises UserError for a missing or damaged file."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            sound = archive.testzip() is None
        state = torch.load(path, map_location="cpu", weights_only=True) if sound else {}
    except Exception:  # damage shows in many kinds
        state = {}
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        raise UserError(f"{path}: not a readable checkpoint; is it damaged?")
    return state


def load_last(folder: Path) -> dict[str, Any] | None:
    """The last readable checkpoint of a folder, with a warning for each damaged one; None if there is none.

    Raises UserError where there are checkpoints and all are damaged.
    """
    paths = _existing(folder)
    for path in reversed(paths):
        try:
            return load(path)
        except UserError as error:
            warn(f"{error} Going on from the checkpoint before it.")
    if paths:
        raise UserError(f"{folder}: no readable checkpoint; remove the folder to begin anew")
    return None


def check_options(options: TrainOptions, saved: str) -> None:
    """Raise UserError where the options differ from those of the checkpoint in a way that matters."""
    differing = differing_options(options, saved)
    if differing:
        raise UserError(
            f"the option file changed since the checkpoint: {'; '.join(differing)}. Change it back, train under "
            "another name, or go on all the same with --accept-changes"
        )


def check_images(folder: str, now: str, saved: str) -> None:
    """Raise UserError where the training images are not those of the checkpoint."""
    if now != saved:
        raise UserError(
            f"datasets.train.dataroot_GT: the images of {folder} changed since the checkpoint: {saved} then, {now} "
            "now. Bring them back, train under another name, or go on all the same with --accept-changes"
        )


def differing_options(options: TrainOptions, saved: str) -> list[str]:
    """The options that differ from dumped ones in a way that matters: `key was this, is that`.

    Keys that were not known when those were dumped count as not set.
    """
    now, then = (_flat(parse_yaml(text, "checkpoint")) for text in (dump_options(options), _complete(saved)))
    return [
        f"{key} was {then.get(key, 'not set')}, is {now.get(key, 'not set')}"
        for key in dict.fromkeys([*then, *now])
        if then.get(key) != now.get(key) and not key.startswith(WITHOUT_EFFECT)
    ]


def _complete(saved: str) -> str:
    """Dumped options with the defaults of keys that are newer than they; as they are where a key is not known now."""
    try:
        return dump_options(TrainOptions.model_validate(parse_yaml(saved, "checkpoint")))
    except ValidationError:
        return saved


def _existing(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[0-9]*{SUFFIX}")) if folder.is_dir() else []


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
