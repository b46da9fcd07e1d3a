"""The pictures of fig/: they show the right data, and missing data are reported."""

import re
from pathlib import Path

import numpy as np
import pytest

from codes.data.images import decode
from codes.data.preparation import synthesise
from codes.models.factory import build_preset
from codes.restoration.networks import TrainedNetwork
from codes.utils.errors import run_command_line
from codes.utils.files import PUBLISHED
from studies import make_figures
from studies.figures import stages, tradeoff
from tests.conftest import random_sharp


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small random network of three stages in place of the shipped one, and a small set of images."""
    network = build_preset("tiny", nf_p=4, nf_d=5, nb=3, nf_n=4)
    synthesise(tmp_path / "Datasets" / "Quickstart", random_sharp(("astronaut", "coffee"), (48, 64), 7))
    monkeypatch.setattr(stages, "DATASETS", tmp_path / "Datasets")
    monkeypatch.setattr(make_figures, "load_network", lambda: TrainedNetwork(network, tmp_path, False))
    monkeypatch.setattr(stages, "CROP", (8, 8, 20, 20))
    return network


def draw(target: Path, *names: str, results: Path | None = None) -> int:
    arguments = [*names, "--target", str(target), "--results", str(results or target)]
    return run_command_line(make_figures.main, arguments)


def test_the_inside_of_a_network_of_any_size_is_drawn(small, tmp_path, capsys):
    target = tmp_path / "fig"
    assert draw(target, "stages") == 0
    assert capsys.readouterr().out.count(": drawn") == 1
    picture = decode(target / "stages.png")
    assert np.ptp(picture) > 200
    assert picture.shape[1] > 1000
    assert [path.name for path in target.iterdir()] == ["stages.png"]


def test_figures_without_results_are_left_out_with_a_message(tmp_path, capsys):
    assert draw(tmp_path, "EV1", "EV2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["EV1.png", "EV2.png"]
    assert all("left out, no restored images of" in line and "sh run_scripts.sh tables" in line for line in lines)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as status:
        make_figures.main(["tradeof"])
    assert status.value.code == 2


def test_tradeoff_is_the_published_table(tmp_path):
    points = {point["method"]: point for point in tradeoff.points(tmp_path)[0]}
    table = (PUBLISHED / "table2" / "table.md").read_text()
    for method, label in (("Wiener", "Wiener"), ("dsdnet_tiny", "DSDNet-Tiny (ours)")):
        first_cell = re.search(rf"\| {re.escape(label)} +\| ([\d.]+) /", table)[1]
        assert float(points[method]["psnr"]) == pytest.approx(float(first_cell), abs=0.006)
    assert points["Wiener"]["parameters"] == ""
    network = build_preset("tiny")
    assert int(points["dsdnet_tiny"]["parameters"]) == sum(parameter.numel() for parameter in network.parameters())
    for method, psnr, parameters in (("DSDNet", 32.01, 323_600_000), ("DSDNet-Light", 31.50, 58_350_000)):
        assert (float(points[method]["psnr"]), int(points[method]["parameters"])) == (psnr, parameters)
    tradeoff.draw(tmp_path, tmp_path / "tradeoff.png")
    assert np.ptp(decode(tmp_path / "tradeoff.png")) > 200
