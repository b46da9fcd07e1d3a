"""The solver experiment: its option file, a small one that is interrupted and continues, its table, publishing."""

from pathlib import Path

import pytest
import torch
import yaml

from codes.models.factory import build_network
from codes.options import load_options
from codes.training.trainer import Trainer
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import read_csv, write_csv
from studies import ablation, publish
from studies import complexity as measured_complexity
from studies.ablation import OPTION_FILE, POSTER, AblationOptions, table_row
from studies.complexity import Complexity
from tests import training_recipe
from tests.conftest import one_error


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment on two images with two variants, two seeds and three iterations."""
    root = tmp_path_factory.mktemp("ablation")
    keys = {"network_G": {"which_model_G": "DSDNet", "nf_p": 2, "nf_d": 2, "nb": 2, "nf_n": 4}, "train__niter": 3}
    keys |= {"train__T_period": [3], "train__val_freq": 3, "logger__save_checkpoint_freq": 1}
    experiment = {
        "name": "small",
        "training": str(training_recipe.write(root / "base.yml", data, **keys)),
        "seeds": [3, 4],
        "variants": {
            "cgnet": {"what": "CGNet", "poster": "CGNet"},
            "cg": {"what": "conjugate gradients", "set": ["network_G.solver=cg"]},
        },
        "quick": {"set": ["train.niter=1", "train.T_period=[1]", "train.val_freq=1"]},
    }
    (root / "ablation.yml").write_text(yaml.safe_dump(experiment))
    return root


def ablate(folder: Path, *more: str) -> int:
    arguments = ["-opt", str(folder / "ablation.yml"), "--results", str(folder), *more]
    return run_command_line(ablation.main, arguments)


def test_an_interrupted_experiment_continues(folder, monkeypatch, capsys):
    """A finished training is left alone, an interrupted one continues from its checkpoint, and options are checked."""
    monkeypatch.setattr(measured_complexity, "SIDE", 48)
    assert ablate(folder, "--only", "cgnet") == 0
    results = folder / "small"
    assert [row["variant"] for row in read_csv(results / "ablation.csv")] == ["cgnet"]
    done, step = [], Trainer.step

    def counted(trainer, batch):
        done.append(trainer.iteration if len(done) != 5 else None)
        if done[-1] is None:  # in the second seed's training
            raise KeyboardInterrupt
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", counted)
    assert ablate(folder) != 0
    assert done == [0, 1, 2, 0, 1, None]
    assert ablate(folder) == 0
    assert done[6:] == [2]
    assert "(" in (results / "table.md").read_text()

    rows = {row["variant"]: row for row in read_csv(results / "ablation.csv")}
    assert list(rows) == ["cg", "cgnet"]
    assert {(row["iterations"], row["seeds"]) for row in rows.values()} == {("3", "2")}
    assert int(rows["cg"]["parameters"]) < int(rows["cgnet"]["parameters"])
    (poster,) = (row for row in read_csv(POSTER) if row["solver"] == "CGNet")
    assert rows["cgnet"]["paper_psnr"] == poster["psnr"]
    assert rows["cg"]["paper_psnr"] == ""
    end = [
        float(row["psnr"])
        for seed in (3, 4)
        for row in read_csv(results / "experiments" / f"cg_{seed}" / "validation.csv")
        if row["set"] == "n03" and row["iteration"] == "3"
    ]
    assert float(rows["cg"]["n03"]) == pytest.approx(sum(end) / 2, abs=0.006)
    assert float(rows["cg"]["n03 difference"]) == pytest.approx(abs(end[0] - end[1]), abs=0.006)

    capsys.readouterr()
    assert ablate(folder, "--set", "train.lr_G=0.5") == 1
    assert "train.lr_G was 0.001, is 0.5" in one_error(capsys)

    assert ablate(folder, "--quick", "--only", "cg") == 0
    assert [row["iterations"] for row in read_csv(folder / "quick" / "small" / "ablation.csv")] == ["1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": {"a": {"what": "x", "set": ["network_G.sovler=cg"]}}}, "did you mean 'solver'"),
        ({"variants": {"a": {"what": "x", "poster": "GC"}}}, "unknown row 'GC'"),
        ({"variants": {"a b": {"what": "x"}}}, "variants.a b"),
        ({"quik": {}}, "did you mean 'quick'"),
        ({"training": "nowhere.yml"}, "no such option file"),
        ({}, "unknown variant 'cgn'; did you mean"),
    ],
)
def test_mistakes_in_the_option_file_are_one_line(folder, tmp_path, change, message, capsys):
    content = yaml.safe_load((folder / "ablation.yml").read_text()) | change
    (tmp_path / "ablation.yml").write_text(yaml.safe_dump(content))
    assert ablate(tmp_path, *([] if change else ["--only", "cgn"])) == 1
    assert message in one_error(capsys)
    assert not (tmp_path / "small").exists()


def test_the_variants_differ_in_the_solver_alone():
    """Equally long, on the same data; and every row of the poster has its variant."""
    options = load_options(AblationOptions, OPTION_FILE)
    posters = {variant.poster for variant in options.variants.values() if variant.poster}
    assert posters == {row["solver"] for row in read_csv(POSTER)}
    for quick in (True, False):
        first = options.training_options("cg", 1, quick).model_dump()
        for name in options.variants:
            training = options.training_options(name, 1, quick)
            with torch.device("meta"):
                build_network(training.network_G)
            other = training.model_dump()
            for part in (first, other):
                del part["train"]["start_values"], part["train"]["lr_scale"]
                part["network_G"].pop("solver")
            assert {key for key in first if first[key] != other[key]} <= {"name"}
            first = options.training_options("cg", 1, quick).model_dump()
        assert options.training_options("cg", 2, quick).train.manual_seed == 2


def test_the_figure_is_drawn(tmp_path):
    options = load_options(AblationOptions, OPTION_FILE)
    cost = Complexity(10, 5.0, 0.1)
    rows = [table_row(options, name, 5000, [{"n01": 30.0}, {"n01": 30.2}], cost) for name in options.variants]
    write_csv(tmp_path / "ablation" / "ablation.csv", rows, list(rows[0]))
    ablation.draw(tmp_path, tmp_path / "ablation.png")
    assert (tmp_path / "ablation.png").stat().st_size > 10_000


def test_only_a_complete_experiment_is_published(tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    run = tmp_path / "ablation"
    with pytest.raises(UserError, match="there are no results"):
        publish.publish_ablation(run, published / "ablation")
    options = load_options(AblationOptions, OPTION_FILE)
    niter = options.training_options("cg", 1, quick=False).train.niter
    rows = [{"variant": name, "iterations": niter, "seeds": len(options.seeds)} for name in options.variants]
    run.mkdir()
    (run / "table.md").write_text("# ablation\n\nnumbers\n")
    for incomplete in (rows[1:], [{**rows[0], "iterations": 4}, *rows[1:]], [{**rows[0], "seeds": 1}, *rows[1:]]):
        write_csv(run / "ablation.csv", incomplete, list(rows[0]))
        with pytest.raises(UserError, match="not trained to the end"):
            publish.publish_ablation(run, published / "ablation")
    assert not list(published.iterdir())
    write_csv(run / "ablation.csv", rows, list(rows[0]))
    publish.publish_ablation(run, published / "ablation")
    assert sorted(path.name for path in published.iterdir()) == ["ablation.csv", "ablation.md"]
