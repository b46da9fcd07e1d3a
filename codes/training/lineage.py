"""What a training began with: the trainings before it, as their cards or experiment folders tell."""

import csv
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from codes.models.weights import read_notes
from codes.utils.errors import UserError
from codes.utils.files import from_root, read_csv
from codes.utils.yaml_files import read_yaml


class _Paths(BaseModel):
    pretrain_model_G: str | None = None
    pretrain_denoiser: str | None = None
    resume_state: str | None = None


class _Recipe(BaseModel):
    manual_seed: int | None = None


class _Options(BaseModel):
    """What counts here of a training's options, of whatever version."""

    name: str | None = None
    path: _Paths = _Paths()
    train: _Recipe = _Recipe()


class _Card(BaseModel):
    """What counts here of a card of export_weights.py."""

    option_file: str | None = None
    iterations: int | None = None
    seed: int | None = None
    wall_clock_hours: float | None = None
    blend: str | None = None
    note: str | None = None
    begun_with: list[dict[str, Any]] = []
    options: _Options = _Options()


def trainings_before(experiment: Path, seen: frozenset[str | None] = frozenset()) -> list[dict[str, Any]]:
    """What the training of an experiment's folder began with, the latest first, from the `path` group of its options.

    Of each file its path in that group as `weights`, and what is known of its training: `option_file`, `iterations`,
    `seed`, `wall_clock_hours`, `blend`, `note` from the card beside exported weights, or `name`, `iterations`, `seed`,
    `wall_clock_hours` from the weights' notes and the experiment in whose folder it lies. What is not known is left
    out. Where a training went on from weights of its own the list ends (`seen`: names of the trainings so far); with
    a denoiser's weights beside the network's, these and what was before them come last. Raises UserError for a card,
    options of an experiment or a safetensors file that can't be read.
    """
    if not (experiment / "options.yml").is_file():
        return []
    options = _read(_Options, experiment / "options.yml")
    paths = options.path
    given = [paths.resume_state] if paths.resume_state else [paths.pretrain_model_G, paths.pretrain_denoiser]
    return [row for path in given if path for row in _told(path, seen | {options.name})]


def _told(path: str, seen: frozenset[str | None]) -> list[dict[str, Any]]:
    weights, row = from_root(path), {"weights": path}
    experiment, card_file = weights.parent.parent, weights.parent / f"{weights.stem}.yml"
    if card_file.is_file():
        card = _read(_Card, card_file)
        own = card.options.name is not None and card.options.name in seen
        told = card.model_dump(exclude={"begun_with", "options"}, exclude_none=True)
        return [row] if own else [row | told, *card.begun_with]
    noted = weights.suffix == ".safetensors" and weights.is_file()
    iterations = read_notes(weights).get("iteration", "") if noted else ""
    row |= {"iterations": int(iterations)} if iterations.isdecimal() else {}
    if weights.parent.name not in ("models", "training_state") or not (experiment / "options.yml").is_file():
        return [row]
    options = _read(_Options, experiment / "options.yml")
    if options.name in seen:
        return [row]
    known = {
        "name": options.name,
        "seed": options.train.manual_seed,
        "wall_clock_hours": _hours(experiment / "validation.csv", iterations),
    }
    row |= {key: value for key, value in known.items() if value is not None}
    return [row, *trainings_before(experiment, seen)]


_Model = TypeVar("_Model", bound=BaseModel)


def _read(model: type[_Model], path: Path) -> _Model:
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(f"{path}: does not tell of a training{where and f', see its key {where}'}") from None


def _hours(curve: Path, iteration: str) -> float | None:
    """Of the training up to `iteration`, where it was validated then."""
    try:
        rows = read_csv(curve) if curve.is_file() else []
        return max((round(float(row["hours"]), 2) for row in rows if row["iteration"] == iteration), default=None)
    except (KeyError, TypeError, ValueError, csv.Error):  # of a damaged file
        return None
