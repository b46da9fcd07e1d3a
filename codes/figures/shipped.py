"""The network that comes with the repository, and the images that the figures show it with."""

from pathlib import Path

from codes.data.preparation import ensure_quickstart, noise_folder
from codes.data.triples import TripleDataset
from codes.figures.page import NothingToDrawError
from codes.models.factory import build_network
from codes.models.paper.dsdnet import DSDNet
from codes.models.registry import NETWORKS
from codes.models.weights import load_weights
from codes.utils.files import ROOT
from codes.utils.yaml_files import read_yaml

# Path of its files without their suffix: .safetensors, .yml (the card), .csv (the training's curve).
MODEL = ROOT / "Models" / "dsdnet_tiny"
DATASETS = ROOT / "Datasets"


def network(model: Path = MODEL) -> DSDNet:
    """The network that the card describes, with its weights, in eval mode."""
    card, weights = model.with_suffix(".yml"), model.with_suffix(".safetensors")
    for path in (card, weights):
        if not path.is_file():
            raise NothingToDrawError(f"{path} is missing (codes/scripts/export_weights.py writes it)")
    keys = read_yaml(card)["options"]["network_G"]
    net = build_network(NETWORKS[keys["which_model_G"]].options(**keys))
    load_weights(net, weights)
    return net


def quickstart(percent: int) -> TripleDataset:
    """The embedded set at 1, 3 or 5 percent noise. It is made if it is missing."""
    ensure_quickstart(DATASETS / "Quickstart")
    return _noisy_set("Quickstart", percent)


def held_out(percent: int) -> tuple[str, TripleDataset]:
    """What the images are called, and the validation images at a noise level, or the embedded set without them."""
    if (DATASETS / "Validation").is_dir():
        return "held-out images", _noisy_set("Validation", percent)
    return "quickstart images", quickstart(percent)


def _noisy_set(name: str, percent: int) -> TripleDataset:
    folder = DATASETS / name
    return TripleDataset(folder / "GT", folder / noise_folder(percent), folder / "Kernel")
