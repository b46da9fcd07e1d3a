"""The network for deblur.py: a preset, a weight file, or the folder of a training."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codes.models.factory import build_network
from codes.models.network import Network
from codes.models.registry import PRESETS, NetworkOptions
from codes.models.weights import load_weights
from codes.options import network_options
from codes.utils.errors import UserError, nearest
from codes.utils.files import ROOT
from codes.utils.yaml_files import read_yaml

MODELS = ROOT / "Models"
# The preset whose weights come with this repository.
SHIPPED = "tiny"
# File names of a preset's weights in Models/.
_FILES = ("{}.safetensors", "{}.pth", "dsdnet_{}.safetensors")


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights, in eval mode, and whether its training used masks."""

    network: Network
    path: Path
    trained_with_masks: bool


def load_network(weights: str | Path = SHIPPED, preset: str | None = None) -> TrainedNetwork:
    """Load a network with the weights that `find_weights` finds.

    Raises UserError for a denoiser, and as `find_weights` and `load_weights` do.
    """
    path, options, trained_with_masks = find_weights(weights, preset)
    network = build_network(options)
    if not network.deblurs:
        raise UserError(f"{path}: holds a {type(network).__name__}, which does not deblur; name weights of a DSDNet")
    load_weights(network, path)
    return TrainedNetwork(network, path, trained_with_masks)


def find_weights(weights: str | Path, preset: str | None = None) -> tuple[Path, NetworkOptions, bool]:
    """A weight file, the options of its network, and whether its training used masks.

    weights: a preset with weights in Models/, a weight file, or the folder of a training (experiments/<name>: its best
    weights, else its last ones). The network is described by the card next to the file (<name>.yml, key
    options.network_G), by the training's options.yml, or without these by `preset`.
    Raises UserError for an unknown name, a missing file, and no description or two of them.
    """
    path = _path_of(str(weights))
    where, options = _training_of(path)
    if where is not None:
        if preset is not None:
            raise UserError(f"{path}: leave the preset out, because {where.name} describes the network")
        trained_with_masks = False
        with suppress(KeyError, TypeError):
            trained_with_masks = bool(options["datasets"]["train"]["masks"])
        return path, network_options(options.get("network_G"), str(where)), trained_with_masks
    if preset is None and str(weights) not in PRESETS:
        raise UserError(
            f"{path}: which network is it? There is no card {path.stem}.yml next to it; name its preset "
            f"({', '.join(PRESETS)})"
        )
    return path, network_options({"preset": preset or str(weights)}, "preset"), False


def files_of_preset(preset: str) -> list[Path]:
    """The files in Models/ that may have a preset's weights, the preferred one first. They need not exist."""
    return [MODELS / name.format(preset) for name in _FILES]


def _path_of(weights: str) -> Path:
    """The weight file of a preset, of a training's folder or a file; relative to here, else to the project's root."""
    if weights in PRESETS:
        files = files_of_preset(weights)
        missing = f"{files[1]} does not exist; Models/README.md says where to get it"
    else:
        path = Path(weights) if Path(weights).exists() else ROOT / weights
        files = [path / "models" / f"{name}.safetensors" for name in ("best", "last")] if path.is_dir() else [path]
        missing = f"no such file or folder, and no preset; {nearest(weights, PRESETS)}"
        if path.is_dir():
            missing = f"{files[1]} does not exist; has this training written weights yet?"
    for file in files:
        if file.is_file():
            return file
    raise UserError(f"{weights}: {missing}")


def _training_of(path: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The file with the options that a weight file was trained with, and its content; (None, {}) if there is none."""
    card, experiment = path.with_suffix(".yml"), path.parent.parent / "options.yml"
    if card.is_file():
        content = read_yaml(card)
        options = content.get("options") if isinstance(content, Mapping) else None
        if not isinstance(options, Mapping):
            raise UserError(f"{card}: a card holds the network's configuration under options.network_G")
        return card, options
    if path.parent.name == "models" and experiment.is_file():
        content = read_yaml(experiment)
        if isinstance(content, Mapping):
            return experiment, content
    return None, {}
