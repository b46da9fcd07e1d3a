"""Shared fixtures. Data that is not in the repository lies in ../shared; tests of it skip without."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

# Tests run in parallel processes; several threads each would only get into each other's way.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that the other process does all the rest beside it."""
    items.sort(key=lambda item: item.name != "test_every_short_command_runs")


def chromium() -> str:
    """The browser's program."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return program
    pytest.skip("Chromium is not on this machine")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of parity fixtures and real data."""
    if not SHARED.is_dir():
        pytest.skip("../shared (real images and the authors' outputs) is not on this machine")
    return SHARED


@pytest.fixture
def random() -> np.random.RandomState:
    return np.random.RandomState(0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
