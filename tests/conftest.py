"""Shared fixtures. Tests that need the real images or the authors' outputs are skipped if these are not there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

# Tests run in parallel processes, which would slow each other down with several threads each.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest test, so that the other process can run all the rest at the same time."""
    items.sort(key=lambda item: item.name != "test_every_short_command_runs")


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
        pytest.skip("../shared (real images and the authors' outputs) is not on this machine")
    return SHARED


@pytest.fixture
def random() -> np.random.RandomState:
    return np.random.RandomState(0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
