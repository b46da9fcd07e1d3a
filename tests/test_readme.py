"""The README: every command in it runs, its tables are those of the published files."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codes.scripts import publish
from tests.conftest import ROOT, SHARED

README = (ROOT / "README.md").read_text(encoding="utf-8")
SLOW = (
    "sh run_scripts.sh tables",
    "sh run_scripts.sh robustness",
    "sh run_scripts.sh ablation",
    "sh run_tests.sh",
    "python codes/scripts/benchmark.py",
    "python codes/scripts/tune_baselines.py",
    "python codes/scripts/fit_orientation.py",
    "python codes/scripts/measure_orientation.py",
    "python codes/scripts/measure_wrong_kernels.py",
    "python codes/scripts/measure_tiling.py",
    "python codes/scripts/measure_identity.py",
    "python codes/scripts/measure_masks.py",
    "python codes/scripts/measure_large.py",
    "pip install -r requirements-demo.txt",
    "python codes/demo.py",
    "python codes/scripts/benchmark_training.py",
    "python codes/test.py -opt options/test/bfloat16.yml",
    "python codes/scripts/compare_precision.py",
)
"""Beginnings of the commands that take more than a minute."""
ELSEWHERE = (
    "sh run_scripts.sh tables",
    "sh run_scripts.sh ablation",
    "sh run_tests.sh",
    "sh run_tests.sh -m slow",
    "pip install -r requirements-demo.txt",
    "python codes/demo.py",
    'python codes/scripts/compare_precision.py "table2/DSDNet-Tiny (ours)" bfloat16',
)
"""Commands with a test of their own, those that run the tests, one of hours, and one that asks the network."""
QUICKSTART = (
    "{q: {name: q, mode: LQGTDB, dataroot_GT: Datasets/Quickstart/GT, dataroot_LQ: Datasets/Quickstart/Noise_01, "
    "dataroot_KM: Datasets/Quickstart/Kernel, embedded: true}}"
)
BRIEF = f" --set train.niter=2 --set train.val_freq=2 --set train.val_images=1 --set 'datasets.val={QUICKSTART}'"
"""What makes a training of hours one of seconds."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the tracked files beside ../shared, with the results that `tables` would have left."""
    root = tmp_path_factory.mktemp("readme") / "project"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: no list of the tracked files to copy")
    for name in filter(None, listed.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    if SHARED.is_dir():
        (root.parent / "shared").symlink_to(SHARED)
    for name in ("table2", "table3"):
        shutil.copytree(root / "results" / "published" / name, root / "results" / name)
    return root


def run(command: str, checkout: Path) -> None:
    if "../shared" in command and not SHARED.is_dir():
        pytest.skip("../shared (real images and the authors' outputs) is not on this machine")
    if "max_images" in command and not (checkout / "Datasets" / "CBSD100").is_dir():
        pytest.skip("Datasets/CBSD100 could not be built without ../shared")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, shell=True, cwd=checkout, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.timeout(900)
def test_every_short_command_runs(checkout):
    """In the README's order, which is the order in which they need each other."""
    short = [command for command in COMMANDS if not command.startswith(SLOW)]
    assert len(short) >= 8
    for command in short:
        of_a_training = re.search(r"options/train/(?!smoke)\w+\.yml", command)
        run(command + BRIEF if of_a_training else command, checkout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith(SLOW) and command not in ELSEWHERE]
)
def test_every_long_command_runs(checkout, command):
    run("python codes/scripts/prepare_datasets.py --source ../shared/data", checkout)
    run(command, checkout)


@pytest.mark.slow
def test_run_scripts_tables(checkout):
    run("python codes/scripts/prepare_datasets.py --source ../shared/data", checkout)
    run("sh run_scripts.sh tables", checkout)


def test_python_examples_run(checkout):
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


def test_tables_are_those_of_the_published_files():
    for page in publish.PAGES:
        text = page.read_text(encoding="utf-8")
        assert publish.with_tables(text) == text, "run python codes/scripts/publish.py"


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert local
    for target in local:
        assert (ROOT / target).is_file(), target
