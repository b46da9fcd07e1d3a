"""What a training began with: the trainings before it, as their cards or experiment folders tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codes.models.weights import read_notes
from codes.utils.errors import UserError
from codes.utils.files import from_root, read_csv
from codes.utils.yaml_files import read_yaml

OPTIONS = "options.yml"
_OF_A_CARD = ("option_file", "iterations", "seed", "wall_clock_hours", "blend", "note")


def trainings_before(experiment: Path, seen: frozenset[Path] = frozenset()) -> list[dict[str, Any]]:
    """What the training of an experiment's folder began with, the latest first, from the `path` group of its options.

    Of each weight file its path in that group as `weights`, and what is known of its training: `iterations`, `seed`,
    `wall_clock_hours`, `blend` and so on from the card beside exported weights; iterations, `name`, seed and hours
    from the experiment in whose `models` folder it lies. What is not there is left out, and a training that went on
    from weights of its own ends the list (`seen`: the experiments so far). Raises UserError for a card, options of an
    experiment or a safetensors file that can't be read.
    """
    paths = _content(experiment / OPTIONS).get("path") or {}
    given = [paths[key] for key in ("pretrain_model_G", "pretrain_denoiser") if paths.get(key)]
    return [row for path in given for row in _told(path, seen | {experiment.resolve()})]


def _told(path: str, seen: frozenset[Path]) -> list[dict[str, Any]]:
    weights, row = from_root(path), {"weights": path}
    card, experiment = weights.with_suffix(".yml"), weights.parent.parent.resolve()
    if card.is_file():
        told = _content(card)
        return [row | {key: told[key] for key in _OF_A_CARD if key in told}, *told.get("begun_with", [])]
    if weights.suffix == ".safetensors" and weights.is_file():
        iteration = read_notes(weights).get("iteration")
        row |= {"iterations": int(iteration)} if iteration else {}
    if weights.parent.name != "models" or not (experiment / OPTIONS).is_file() or experiment in seen:
        return [row]
    options = _content(experiment / OPTIONS)
    row |= {"name": options.get("name"), "seed": (options.get("train") or {}).get("manual_seed")}
    hours = _hours(experiment / "validation.csv", row.get("iterations"))
    row |= {"wall_clock_hours": hours} if hours is not None else {}
    return [row, *trainings_before(experiment, seen)]


def _content(path: Path) -> Mapping[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: is not made of `key: value` lines")
    return content


def _hours(curve: Path, iteration: int | None) -> float | None:
    """Of the training up to `iteration`, where it was validated then."""
    try:
        rows = read_csv(curve) if curve.is_file() else []
        return max((round(float(row["hours"]), 2) for row in rows if int(row["iteration"]) == iteration), default=None)
    except (KeyError, TypeError, ValueError):  # of a damaged file
        return None
