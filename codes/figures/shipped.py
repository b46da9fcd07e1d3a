"""The images that figures show the repository's network with."""

from codes.data.preparation import ensure_quickstart, noise_folder
from codes.data.triples import TripleDataset
from codes.utils.files import ROOT

DATASETS = ROOT / "Datasets"


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
