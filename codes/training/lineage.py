"""What a training began with: the trainings before it, as their experiment folders tell."""

from pathlib import Path
from typing import Any

from codes.models.weights import read_notes
from codes.options import load_options
from codes.training.options import TrainOptions
from codes.utils.files import from_root, read_csv


def trainings_before(options: TrainOptions) -> list[dict[str, Any]]:
    """For each training that `options` goes on from, the latest first: its weights, name, iteration, seed and hours.

    The weights' path is that in the option file, `blend` what export_weights.py noted in them. Of weights that lie in
    no experiment's `models` folder, or are gone, only the path is known; where a training went on from its own weights
    the list ends. Raises UserError for a damaged weight file, or an experiment's option file that is none.
    """
    rows: list[dict[str, Any]] = []
    seen = {options.name}
    while path := options.path.pretrain_model_G or options.path.pretrain_denoiser:
        weights = from_root(path)
        row: dict[str, Any] = {"weights": path}
        if weights.suffix == ".safetensors" and weights.is_file():
            row |= {key: value for key, value in read_notes(weights).items() if key in ("iteration", "blend")}
        rows.append(row)
        experiment = weights.parent.parent
        if not (experiment / "options.yml").is_file():
            break
        options = load_options(TrainOptions, experiment / "options.yml")
        if options.name in seen:
            break
        seen.add(options.name)
        row |= {"name": options.name, "seed": options.train.manual_seed}
        hours = _hours(experiment / "validation.csv", row.get("iteration"))
        if hours is not None:
            row["wall_clock_hours"] = hours
    return rows


def _hours(curve: Path, iteration: str | None) -> float | None:
    """Of the training up to `iteration`, where it was validated then."""
    rows = read_csv(curve) if curve.is_file() else []
    return max((round(float(row["hours"]), 2) for row in rows if row["iteration"] == iteration), default=None)
