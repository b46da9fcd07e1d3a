"""The network for deblur.py: a preset, a weight file, or the folder of a training."""

from collections.abc import Mapping
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
class Trained:
    """A network with its weights, in eval mode, and whether masks were drawn in its training."""

    network: Network
    path: Path
    knows_masks: bool


def load_network(weights: str | Path = SHIPPED, preset: str | None = None) -> Trained:
    """Load a network with the weights that `find_weights` finds.

    Raises UserError for a denoiser, and as `find_weights` and `load_weights` do.
    """
    path, options, knows_masks = find_weights(weights, preset)
    network = build_network(options)
    if network.told_sigma:
        raise UserError(f"{path}: holds a {type(network).__name__}, which does not deblur; name weights of a DSDNet")
    load_weights(network, path)
    return Trained(network, path, knows_masks)


def find_weights(weights: str | Path, preset: str | None = None) -> tuple[Path, NetworkOptions, bool]:
    """A weight file, the options of its network, and whether masks were drawn in its training.

    weights: a preset with weights in Models/, a weight file, or the folder of a training (experiments/<name>: its best
    weights, else its last ones). The configuration of the network is that of `preset`, of the card next to the file
    (<name>.yml, key options.network_G), or of the training's options.yml.
    Raises UserError for an unknown name and for a missing file or configuration.
    """
    path = _path_of(str(weights))
    options = _training_of(path)
    if preset is not None:
        content: Any = {"preset": preset}
        where = "--preset"
    elif options is not None:
        where, content = str(options[0]), options[1].get("network_G")
    elif str(weights) in PRESETS:
        where, content = "--weights", {"preset": str(weights)}
    else:
        raise UserError(
            f"{path}: which network is it? There is no card {path.stem}.yml next to it; name one with --preset "
            f"({', '.join(PRESETS)})"
        )
    return path, network_options(content, where), options is not None and _knows_masks(options[1])


def shipped_knows_masks() -> bool:
    """True if the weights that come with this repository were trained with masks, by their card."""
    training = _training_of(_path_of(SHIPPED))
    return training is not None and _knows_masks(training[1])


def _path_of(weights: str) -> Path:
    """The weight file of a preset, a folder of a training or a file; relative to here, else to the project's root."""
    if weights in PRESETS:
        paths = [MODELS / name.format(weights) for name in _FILES]
        found = [path for path in paths if path.is_file()]
        if not found:
            raise UserError(f"--weights {weights}: {paths[1]} does not exist; Models/README.md says where to get it")
        return found[0]
    path = Path(weights) if Path(weights).exists() else ROOT / weights
    if path.is_dir():
        files = [path / "models" / f"{name}.safetensors" for name in ("best", "last")]
        found = [file for file in files if file.is_file()]
        if not found:
            raise UserError(f"--weights {weights}: {files[1]} does not exist; has this training written weights yet?")
        return found[0]
    if not path.is_file():
        raise UserError(f"--weights {weights}: no such file or folder, and no preset; {nearest(weights, PRESETS)}")
    return path


def _training_of(path: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The options that a file's network was trained with, and their file; None where they are not known."""
    card, experiment = path.with_suffix(".yml"), path.parent.parent / "options.yml"
    if card.is_file():
        content = read_yaml(card)
        options = content.get("options") if isinstance(content, Mapping) else None
        if not isinstance(options, Mapping):
            raise UserError(f"{card}: a card holds the network's configuration under options.network_G")
        return card, options
    if path.parent.name == "models" and experiment.is_file():
        content = read_yaml(experiment)
        return (experiment, content) if isinstance(content, Mapping) else None
    return None


def _knows_masks(options: Mapping[str, Any]) -> bool:
    datasets = options.get("datasets")
    train = datasets.get("train") if isinstance(datasets, Mapping) else None
    return isinstance(train, Mapping) and bool(train.get("masks"))
