"""docs/extending.md: its files are put into a copy of the repository, and its commands are run there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text("utf-8"), re.DOTALL | re.M)
FILES = {block.partition("\n")[0].removeprefix("# "): block for language, block in BLOCKS if language != "sh"}
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """The repository with the files of the page."""
    root = tmp_path_factory.mktemp("extended") / "project"
    for folder in ("codes", "options", "results/published/paper"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "Models").symlink_to(ROOT / "Models")
    for name, content in FILES.items():
        (root / name).write_text(content, encoding="utf-8")
    return root


def run(root: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.timeout(900)
def test_the_files_and_commands_of_the_page(extended):
    assert set(FILES) == {
        *(f"codes/models/{name}.py" for name in ("toy", "toy_with_keys", "landweber", "garrote")),
        *("options/train/toy.yml", "options/test/photos.yml"),
    }
    for command in COMMANDS:
        assert command.startswith("python ")
        run(extended, *command.split()[1:])
    for name in ("toy", "landweber", "garrote"):
        assert (extended / "experiments" / name / "models" / "last.safetensors").is_file()
    assert (extended / "toy.png").is_file()
    assert (extended / "results" / "toy" / "table.csv").is_file()
    assert "Wiener" in (extended / "results" / "photos" / "table.md").read_text()


def test_networks_with_keys_and_presets(extended):
    code = (
        "from codes.options import network_options as options\n"
        "from codes.models.factory import build_network as build\n"
        "nets = [build(options(keys, 'here')) for keys in ({'preset': 'wide_toy'}, "
        "{'which_model_G': 'ToyWithKeys', 'width': 32}, {'preset': 'small', 'solver': 'landweber'})]; "
        "print(nets[0].layers[0].out_channels, nets[1].layers[0].out_channels, type(nets[2].solver).__name__)"
    )
    assert run(extended, "-c", code).split() == ["64", "32", "Landweber"]
