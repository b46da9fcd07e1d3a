"""Shared fixtures. Tests that need the real images or the authors' outputs are skipped if these are not there."""

import ctypes
import os
import resource
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from codes.data.kernel_generator import camera_shake
from codes.data.preparation import Sharp
from codes.models.factory import build_preset
from codes.models.network import Network
from tests import training_recipe

# Tests run in parallel processes, which would slow each other down with several threads each.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("REFERENCE_DATA", ROOT.parent / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest test, so that the other process can run all the rest at the same time."""
    items.sort(key=lambda item: item.name != "test_every_short_command_runs")


def small_network(scale: float = 0.03, **keys: object) -> Network:
    """A small network whose weights are random around those it is built with, where every stage is the identity."""
    torch.manual_seed(1)
    network = build_preset("tiny", **{"nf_p": 3, "nf_d": 3, "nb": 2, "nf_n": 4, **keys})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def random_sharp(names: Iterable[str], size: tuple[int, int], side: int) -> list[Sharp]:
    """Images of random pixels with kernels of camera shake."""
    random = np.random.RandomState(0)
    pixels = (random.randint(0, 256, (*size, 3)).astype(np.uint8) for _ in names)
    return [Sharp(name, image, camera_shake(random, side)) for name, image in zip(names, pixels, strict=True)]


def roots_of(folder: Path, blurry: str = "Noise_03") -> dict[str, str]:
    """The folders of a test set as its option file names them."""
    folders = {"GT": "GT", "LQ": blurry, "KM": "Kernel"}
    return {f"dataroot_{key}": str(folder / name) for key, name in folders.items()}


def files_in(folder: Path) -> dict[str, bytes]:
    """The content of all files of a folder by their relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one error of a command, without a traceback."""
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    return error


@contextmanager
def permissions_count() -> Iterator[None]:
    """File permissions hold for this thread even if it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()

    def checked(status: int) -> None:
        if status:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    checked(libc.capget(header, before))
    less = type(before)(*before)
    less[0] &= ~0b110  # the effective CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH; the permitted ones stay
    checked(libc.capset(header, less))
    try:
        yield
    finally:
        checked(libc.capset(header, before))


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def chromium() -> str:
    """The path of the browser."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return program
    pytest.skip("Chromium is not on this machine")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of parity fixtures and real data."""
    if not SHARED.is_dir():
        pytest.skip("REFERENCE_DATA: real images and the authors' outputs are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two images with kernels that tests of training use."""
    return training_recipe.sharp_images(tmp_path_factory.mktemp("data") / "two")


@pytest.fixture
def random() -> np.random.RandomState:
    return np.random.RandomState(0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
