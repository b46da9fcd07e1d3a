"""Networks by name or by weight file, for images of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from codes.models.paper.dsdnet import DSDNet
from codes.models.factory import build_network
from codes.models.registry import PRESETS
from codes.models.weights import load_weights
from codes.options import network_options
from codes.utils.errors import UserError, nearest
from codes.utils.files import ROOT
from codes.utils.yaml_files import read_yaml

MODELS = ROOT / "Models"
SHIPPED = "tiny"
_FILES = ("{}.safetensors", "{}.pth", "dsdnet_{}.safetensors")
"""Names below Models/ of a preset's weights."""


@dataclass(frozen=True)
class Trained:
    """A network with its weights, in eval mode, and whether masks were drawn in its training."""

    network: nn.Module
    path: Path
    knows_masks: bool


def load_network(weights: str | Path = SHIPPED, preset: str | None = None) -> Trained:
    """The network of a preset whose weights lie in Models/, or of a weight file.

    The configuration is that of the card beside the file (<name>.yml, key options.network_G), of
    the training that wrote it (experiments/<name>/options.yml), or `preset`.
    Raises UserError for an unknown name, a missing file or configuration, a network of another kind, and as
    `load_weights` does.
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
            f"{path}: which network is it? There is no card {path.stem}.yml beside it; name one by --preset "
            f"({', '.join(PRESETS)})"
        )
    network = build_network(network_options(content, where))
    if not isinstance(network, DSDNet):
        raise UserError(f"{path}: holds a {type(network).__name__}, which does not deblur; name weights of a DSDNet")
    load_weights(network, path)
    return Trained(network, path, options is not None and _knows_masks(options[1]))


def shipped_knows_masks() -> bool:
    """Whether the weights that come with this repository were trained with masks, by their card."""
    training = _training_of(_path_of(SHIPPED))
    return training is not None and _knows_masks(training[1])


def _path_of(weights: str) -> Path:
    if weights in PRESETS:
        paths = [MODELS / name.format(weights) for name in _FILES]
        found = [path for path in paths if path.is_file()]
        if not found:
            raise UserError(f"--weights {weights}: {paths[1]} is not there (Models/README.md says where to get it)")
        return found[0]
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"--weights {weights}: no such file, and no preset; {nearest(weights, PRESETS)}")
    return path


def _training_of(path: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The options that a file's network was trained with, and where they stand; None where they are not known."""
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
