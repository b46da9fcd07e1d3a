"""The ablation: its option file, a whole small one that is interrupted and goes on, its table, publishing."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from codes import train
from codes.metrics.complexity import complexity, convolution_flop
from codes.models.factory import build_network
from codes.options import load_options
from codes.scripts import publish, run_ablation
from codes.training.ablation import OPTION_FILE, POSTER, AblationOptions
from codes.training.trainer import Trainer
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import read_csv, write_csv
from tests import training_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images and an ablation of two variants on them, of three iterations each."""
    root = tmp_path_factory.mktemp("ablation")
    data = training_recipe.sharp_images(root / "two")
    base = training_recipe.write(
        root / "base.yml", data, train__niter=3, train__T_period=[3], train__val_freq=3, logger={"print_freq": 1}
    )
    content = yaml.safe_load(base.read_text())
    content["logger"]["save_checkpoint_freq"] = 1
    base.write_text(yaml.safe_dump(content))
    ablation = {
        "name": "small",
        "base": str(base),
        "variants": {
            "base": {"varies": "nothing"},
            "cg2": {"varies": "x-step", "set": ["network_G.solver=cg2"], "poster": "CG"},
        },
        "test": {"t": {**content["datasets"]["val"]["n03"], "name": "Two_n01"}},
        "quick": {"set": ["train.niter=1", "train.T_period=[1]"], "test": {}},
    }
    (root / "ablation.yml").write_text(yaml.safe_dump(ablation))
    return root


def ablate(folder: Path, *more: str) -> int:
    arguments = ["-opt", str(folder / "ablation.yml"), "--results", str(folder), "--processes", "1", *more]
    return run_command_line(run_ablation.main, arguments)


def test_interrupted_ablation_goes_on(folder: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    """A variant that is finished is left alone, one that was interrupted goes on from its checkpoint."""
    assert ablate(folder, "--only", "base") == 0
    results = folder / "small"
    assert [row["variant"] for row in read_csv(results / "ablation.csv")] == ["base"]
    last = results / "experiments" / "base" / "training_state" / "00000003.state"
    finished = last.stat().st_mtime_ns

    with monkeypatch.context() as patch:
        step = Trainer.step
        patch.setattr(Trainer, "step", lambda self, batch: 1 / 0 if self.iteration == 2 else step(self, batch))
        options = load_options(AblationOptions, folder / "ablation.yml")
        overrides = [word for key in options.overrides("cg2", quick=False) for word in ("--set", key)]
        with pytest.raises(ZeroDivisionError):
            train.main(["-opt", options.base, "--root", str(results), *overrides])

    capsys.readouterr()
    assert ablate(folder) == 0
    assert "2 variants, 1 finished" in capsys.readouterr().out
    assert last.stat().st_mtime_ns == finished
    assert "going on from iteration 2" in (results / "logs" / "cg2.log").read_text()
    assert "going on" not in (results / "logs" / "base.log").read_text()

    rows = {row["variant"]: row for row in read_csv(results / "ablation.csv")}
    assert list(rows) == ["base", "cg2"]
    assert {row["iterations"] for row in rows.values()} == {"3"}
    assert int(rows["cg2"]["parameters"]) < int(rows["base"]["parameters"])
    (published,) = (row for row in read_csv(POSTER) if row["solver"] == "CG")
    assert rows["cg2"]["paper_psnr"] == published["psnr"]
    assert rows["base"]["paper_psnr"] == ""
    # Scored with the average at the end, on the validation set by train.py and on the test set here: the same images.
    assert all(5 < float(row["n03"]) < 60 and float(row["n03"]) == float(row["Two_n01"]) for row in rows.values())
    table = (results / "table.md").read_text()
    assert "(paper)" in table
    assert published["psnr"] in table

    assert ablate(folder) == 0
    assert "2 variants, 2 finished" in capsys.readouterr().out

    # The trainings lie there with what they were trained with: nothing else is mixed in.
    assert ablate(folder, "--set", "train.lr_G=0.5") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "train.lr_G was 0.001, is 0.5" in error


def test_failing_training_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """And what --quick writes lies apart."""
    damaged = shutil.copytree(folder / "two" / "GT", tmp_path / "GT")
    for image in damaged.iterdir():
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])  # the header is whole
    arguments = ["--results", str(tmp_path), "--only", "base", "--set", f"datasets.train.dataroot_GT={damaged}"]
    assert ablate(folder, "--quick", *arguments) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error"))
    log = tmp_path / "small_quick" / "logs" / "base.log"
    assert line.startswith(f"error: variant base: {damaged}")
    assert "not a readable image" in line
    assert line.endswith(f"(all that it said: {log})")
    assert log.is_file()
    assert not (tmp_path / "small_quick" / "ablation.csv").exists()
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": {"a": {"varies": "x", "set": ["network_G.sovler=cg5"]}}}, "did you mean 'solver'"),
        ({"variants": {"a": {"varies": "x", "poster": "GC"}}}, "unknown row 'GC'"),
        ({"variants": {"a b": {"varies": "x"}}}, "variants.a b"),
        ({"quik": {}}, "did you mean 'quick'"),
        ({"base": "nowhere.yml"}, "no such option file"),
    ],
)
def test_mistakes_in_the_option_file_are_one_line(
    folder: Path, tmp_path: Path, change: dict, message: str, capsys: pytest.CaptureFixture
) -> None:
    content = yaml.safe_load((folder / "ablation.yml").read_text()) | change
    (tmp_path / "ablation.yml").write_text(yaml.safe_dump(content))
    assert ablate(tmp_path) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "small").exists()


def test_unknown_variant_is_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert ablate(folder, "--only", "cg3") == 1
    assert "unknown variant 'cg3'; did you mean 'cg2'?" in capsys.readouterr().err


@pytest.mark.parametrize("quick", [False, True])
def test_shipped_ablation_is_valid(quick: bool) -> None:
    options = load_options(AblationOptions, OPTION_FILE)
    for name in options.variants:
        recipe = options.recipe(name, quick)
        assert recipe.name == name
        with torch.device("meta"):
            build_network(recipe.network_G)
    assert {variant.poster for variant in options.variants.values()} - {None} == {
        row["solver"] for row in read_csv(POSTER)
    }


def test_variants_differ_from_the_base_in_the_network_alone() -> None:
    """Equally long, on the same data, with the same seed; the stages' weights belong to their number."""
    options = load_options(AblationOptions, OPTION_FILE)
    base = options.recipe("base", quick=False).model_dump()
    for name in options.variants:
        other = options.recipe(name, quick=False).model_dump()
        for part in (base, other):
            part["train"].pop("stage_weights", None)
        assert {key for key in base if base[key] != other[key]} <= {"name", "network_G"}


def test_complexity() -> None:
    class Convolution(nn.Conv2d):
        def forward(self, image, kernel):
            return super().forward(image)

    network = Convolution(3, 5, 3, padding=1, bias=False)
    assert convolution_flop(network, torch.rand(1, 3, 8, 10), torch.ones(1, 1, 1)) == 2 * 3 * 5 * 9 * 80
    cost = complexity(network)
    assert cost.parameters == 135
    assert cost.seconds > 0


def test_only_a_whole_ablation_is_published(tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    run = tmp_path / "ablation"
    with pytest.raises(UserError, match="holds no results"):
        publish.publish_ablation(run, published / "ablation")
    options = load_options(AblationOptions, OPTION_FILE)
    niter = options.recipe("base", quick=False).train.niter
    rows = [{"variant": name, "iterations": niter} for name in options.variants]
    run.mkdir()
    (run / "table.md").write_text("# ablation\n\nnumbers\n")
    for incomplete in (rows[1:], [{**rows[0], "iterations": 4}, *rows[1:]]):
        write_csv(run / "ablation.csv", incomplete, ("variant", "iterations"))
        with pytest.raises(UserError, match="not all variants were trained"):
            publish.publish_ablation(run, published / "ablation")
    assert not list(published.iterdir())
    write_csv(run / "ablation.csv", rows, ("variant", "iterations"))
    publish.publish_ablation(run, published / "ablation")
    assert sorted(path.name for path in published.iterdir()) == ["ablation.csv", "ablation.md"]
