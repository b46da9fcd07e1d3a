"""The pages: their commands and examples run, their figures are the published ones, their links lead somewhere.

Cheap commands run in a copy of the repository. For the others, the program, its options and its option file are
checked; `sh run_tests.sh -m slow` runs them, too.
"""

import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from codes.models.registry import PRESETS
from codes.options import TestOptions, load_options
from codes.training.options import TrainOptions
from codes.utils.files import read_csv
from studies import describe_options, publish
from tests.conftest import ROOT, SHARED
from tests.test_networks import PARAMETERS

PAGES = [ROOT / name for name in ("README.md", "REPRODUCTION.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").glob("*.md")) + [ROOT / "Models" / "README.md", ROOT / "Datasets" / "README.md"]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
# What makes a command cheap, by how the command begins. A training of hours becomes one of seconds.
QUICKSTART = (
    "{q: {name: q, mode: LQGTDB, dataroot_GT: Datasets/Quickstart/GT, dataroot_LQ: Datasets/Quickstart/Noise_01, "
    "dataroot_KM: Datasets/Quickstart/Kernel, embedded: true}}"
)
OWN_IMAGES = "--set datasets.train.dataroot_GT=Datasets/Quickstart/GT"
BRIEF = f" {OWN_IMAGES} --set train.niter=2 --set 'datasets.val={QUICKSTART}' --set train.val_freq=2"
CHEAP = {
    "python codes/test.py -opt options/test/quickstart.yml": " --set max_images=1 --set datasets=[Quickstart_n01]",
    "python codes/deblur.py": "",
    "python codes/blur_images.py": "",
    "python codes/estimate_kernel.py": "",
    "python codes/train.py -opt options/train/smoke.yml": "",
    "python codes/train.py -opt options/train/own.yml": BRIEF + " --set train.val_images=1",
    "python codes/scripts/prepare_datasets.py": " --sets Set5",
    "python codes/scripts/preview_training_data.py": " " + OWN_IMAGES,
    "python codes/scripts/make_report.py": "",
    "python studies/check_parity.py": "",
    "python codes/scripts/export_weights.py": BRIEF + " --set train.val_images=1",
    "python studies/describe_options.py": "",
}
# Commands that set up the environment or wait for the user.
ENVIRONMENT = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install", "tensorboard --logdir tb_logger")
# Commands that the slow tests leave out: they run the tests, need results of hours, GPUs or a browser.
NEVER = ("sh run_tests.sh", "sh run_scripts.sh ablation", "python studies/publish.py table2", "torchrun")
NEVER += ("python codes/demo.py",)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.DOTALL | re.MULTILINE)


def lines(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]


# The commands and examples of extending.md belong together and have a test of their own.
EXTENDING = ROOT / "docs" / "extending.md"
TESTED_HERE = [page for page in PAGES if page != EXTENDING]
COMMANDS = list(dict.fromkeys(command for page in TESTED_HERE for command in lines(page)))


def added(command: str) -> str | None:
    """What has to be added to a command to make it cheap; None for a command that is not cheap."""
    return next((more for start, more in CHEAP.items() if command.startswith(start)), None)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the tracked files, with the results that `tables` would have left."""
    root = tmp_path_factory.mktemp("readme") / "project"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: no list of the tracked files to copy")
    for name in filter(None, listed.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    for name in ("table2", "table3"):
        shutil.copytree(root / "results" / "published" / name, root / "results" / name)
    return root


def run(command: str, checkout: Path) -> None:
    if "path/to/" in command and not SHARED.is_dir():
        pytest.skip("real images and the authors' outputs are not on this machine")
    command = command.replace("path/to/raw_data", f"{SHARED}/data").replace("path/to/fixtures", f"{SHARED}/parity")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, shell=True, cwd=checkout, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.timeout(900)
def test_every_short_command_runs(checkout):
    """In the order of the pages, which is the order in which they need each other."""
    cheap = [command for command in COMMANDS if added(command) is not None]
    assert len(cheap) >= 8
    for command in cheap:
        if SHARED.is_dir() or "path/to/" not in command:
            run(command + added(command), checkout)


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if added(c) is None and not c.startswith(ENVIRONMENT + NEVER)])
def test_every_long_command_runs(checkout, command):
    run("python codes/scripts/prepare_datasets.py --source path/to/raw_data", checkout)
    run(command, checkout)


@pytest.mark.timeout(900)
def test_the_files_and_commands_of_extending(checkout):
    """The files of the page are put into the copy of the repository, and its commands are run there."""
    written = [text for language in ("python", "yaml") for text in blocks(EXTENDING, language)]
    files = {text.partition("\n")[0].removeprefix("# "): text for text in written}
    networks = {f"codes/models/{name}.py" for name in ("toy", "toy_with_keys", "landweber", "garrote")}
    assert files.keys() == networks | {"options/train/toy.yml", "options/test/photos.yml"}
    for name, text in files.items():
        (checkout / name).write_text(text, encoding="utf-8")
    for command in lines(EXTENDING):
        run(command, checkout)
    for name in ("toy", "landweber", "garrote"):
        assert (checkout / "experiments" / name / "models" / "last.safetensors").is_file()
    assert (checkout / "toy.png").is_file()
    assert (checkout / "results" / "toy" / "table.csv").is_file()
    assert "Wiener" in (checkout / "results" / "photos" / "table.md").read_text()
    code = (
        "from codes.options import network_options as options\n"
        "from codes.models.factory import build_network as build\n"
        "nets = [build(options(keys, 'here')) for keys in ({'preset': 'wide_toy'}, "
        "{'which_model_G': 'ToyWithKeys', 'width': 32}, {'preset': 'small', 'solver': 'landweber'})]\n"
        "parts = nets[0].layers[0].out_channels, nets[1].layers[0].out_channels, type(nets[2].solver).__name__\n"
        "assert parts == (64, 32, 'Landweber'), parts"
    )
    run(f"python -c {shlex.quote(code)}", checkout)


@cache
def help_of(program: str) -> str:
    """The help of a Python program of this repository."""
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    return printed.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command):
    """Its program exists and has its options, its option file and overrides are valid, its requirement files exist."""
    words = shlex.split(command, comments=True)
    if words[0] == "sh":
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        if words[1] == "run_scripts.sh":
            assert all(re.search(rf"[ |]{word}\b", script) for word in words[2:])
    elif command.startswith("pip install"):
        assert all((ROOT / word).is_file() for word in words if word.endswith(".txt"))
    elif not command.startswith(ENVIRONMENT):
        while words and not words[0].endswith(".py"):
            assert words[0] in ("python", "torchrun", "--nproc_per_node") or words[0].isdigit(), command
            words.pop(0)
        program, *arguments = words
        if program == "codes/demo.py":
            pytest.importorskip("gradio")
        known = re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_of(program))
        assert {word for word in arguments if word.startswith("-")} <= set(known), help_of(program)
        if "-opt" in arguments:
            schema = TestOptions if program == "codes/test.py" else TrainOptions
            overrides = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--set"]
            load_options(schema, ROOT / arguments[arguments.index("-opt") + 1], overrides)


EXAMPLES = [block for page in TESTED_HERE for block in blocks(page, "python")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_python_examples_run(example, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(example, "<page>", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_and_excerpts_are_those_of_the_published_files(page):
    assert publish.with_tables(TEXTS[page]) == TEXTS[page], "run python studies/publish.py"
    for path, table in re.findall(r"<!-- rows of: (\S+) -->\n((?:\|.*\n)+)", TEXTS[page]):
        header, _, *rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in table.splitlines()]
        published = [tuple(row[name] for name in header) for row in read_csv(ROOT / path)]
        assert rows
        for row in rows:
            assert tuple(row) in published, f"{path} has no row {row}"


def test_option_table_is_that_of_the_schemas():
    page = TEXTS[describe_options.PAGE]
    assert describe_options.with_options(page) == page, "run python studies/describe_options.py"
    table = re.sub(r"`[^`]*`", "", describe_options.option_table())
    assert "<" not in table  # GitHub would read <name> as an HTML tag and leave it out
    for line in page.partition("<!-- options -->\n")[2].partition("<!-- end of options -->")[0].splitlines():
        assert line.rpartition("| ")[2].strip(" |"), f"no description: {line}"


def test_figures_of_reproduction_are_published():
    """Every figure of two decimals, in dB or millions of parameters, and every count of parameters."""
    numbers = r"\b(?:\d\d+\.\d\d|\d+(?:,\d{3})+)\b"
    tables = ("table2/table.csv", "table3/table.csv", "parts.csv", "paper/sizes.csv", "paper/ablation_solver.csv")
    cells = [cell for name in tables for row in read_csv(publish.PUBLISHED / name) for cell in row.values()]
    published = set(re.findall(numbers, " ".join(cells))) | {f"{count:,}" for count in PARAMETERS.values()}
    for cell in filter(re.compile(r"[\d.]+").fullmatch, cells):
        published |= {f"{float(cell):.2f}", f"{float(cell):,.0f}"}
    quoted = re.findall(numbers, TEXTS[ROOT / "REPRODUCTION.md"])
    assert len(quoted) > 50
    assert set(quoted) <= published


def test_presets_of_the_readme_have_these_sizes():
    assert PARAMETERS.keys() == set(PRESETS)
    for name, count in PARAMETERS.items():
        row = next(line for line in TEXTS[ROOT / "README.md"].splitlines() if line.startswith(f"| `{name}` |"))
        size = f"| {PRESETS[name]['nb']} | {PRESETS[name]['nf_p']} | {count / 1e6:.2f}M |"
        assert size in row, f"{name}: {size}"


def test_readme_is_short():
    text = TEXTS[ROOT / "README.md"]
    assert text.count("\n") <= 200
    assert len(text.encode()) <= 12 * 1024


def anchors(page: Path) -> set[str]:
    """The fragments under which the headings of a page are found."""
    headings = re.findall(r"^#+ (.*)$", TEXTS[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not fragment or fragment in anchors(path), target


@pytest.mark.parametrize(
    "pattern", [r"\.\./shared", r"\b(heed(s|ed)?|anew|beside|handed|at hand|so many|serves? for)\b"]
)
def test_no_file_of_the_product_contains(pattern):
    """A folder of this machine, and words that a native speaker would not write here. history.md has old names."""
    searched = ["--", ":!tests", ":!docs/history.md"]
    found = subprocess.run(["git", "grep", "-IinE", pattern, *searched], cwd=ROOT, capture_output=True, text=True)
    if found.returncode == 128:
        pytest.skip("not a git checkout")
    assert not found.stdout
