"""Whole trainings by train.py: from beginning to end, interrupted, in several processes."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from codes import train
from codes.models.weights import read_notes, read_weights
from codes.restoration.networks import load_network
from codes.scripts import export_weights, preview_training_data
from codes.training import checkpoint
from codes.training.lineage import trainings_before
from codes.utils.errors import run_command_line
from codes.utils.files import read_csv
from codes.utils.yaml_files import read_yaml, to_yaml
from tests import training_recipe

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "codes" / "train.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_recipe.sharp_images(tmp_path_factory.mktemp("data") / "two")


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    option_file = training_recipe.write(root / "test.yml", data)
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(root)]) == 0
    return root / "experiments" / "test"


def curve(experiment: Path) -> list[list[str]]:
    with open(experiment / "validation.csv", encoding="utf-8", newline="") as file:
        return [row[:-1] for row in csv.reader(file)]  # without the hours


def assert_same_state(one: dict, other: dict) -> None:
    """Every tensor and number equal to the last bit; the hours and the file's paths may differ."""
    assert one.keys() == other.keys()
    for key in one:
        if key in ("hours", "options"):
            continue
        if isinstance(one[key], dict):
            assert_same_state(one[key], other[key])
        elif isinstance(one[key], torch.Tensor):
            assert torch.equal(one[key], other[key]), key
        else:
            assert one[key] == other[key], key


def test_masks_with_an_x_step_that_takes_none(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    masks = {"datasets__train__masks": 0.5}
    option_file = training_recipe.write(tmp_path / "a.yml", data, **masks, network_G__solver="cg1")
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path)]) == 1
    assert "datasets.train.masks: the x-step 'cg1' takes no mask" in capsys.readouterr().err


def test_masks_with_a_denoiser(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    overrides = {"datasets__train__masks": 0.5, "network_G": {"which_model_G": "Denoiser"}}
    option_file = training_recipe.write(tmp_path / "a.yml", data, **overrides)
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path)]) == 1
    assert "datasets.train.masks: Denoiser takes no mask" in capsys.readouterr().err


def test_a_training_with_masks(data: Path, tmp_path: Path) -> None:
    option_file = training_recipe.write(tmp_path / "a.yml", data, datasets__train__masks=0.5, train__niter=2)
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path)]) == 0
    experiment = tmp_path / "experiments" / "test"
    assert load_network(experiment / "models" / "last.safetensors").knows_masks


def test_killed_training_ends_bit_identical(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    command = [sys.executable, TRAIN, "-opt", str(option_file), "--root", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True)
    for line in process.stdout:
        if line.split()[0] == "7/9":  # the last checkpoint is that of iteration 6
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    experiment = tmp_path / "experiments" / "test"
    assert checkpoint.load_last(experiment / "training_state")["iteration"] == 6
    again = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert "going on from iteration 6" in again.stdout
    final, expected = (checkpoint.load_last(folder / "training_state") for folder in (experiment, uninterrupted))
    assert final["iteration"] == 9
    assert_same_state(final, expected)
    assert curve(experiment) == curve(uninterrupted)
    for name in ("best", "last"):
        files = (folder / "models" / f"{name}.safetensors" for folder in (experiment, uninterrupted))
        assert_same_state(*map(read_weights, files))


def test_two_processes_train_as_one(data: Path, tmp_path: Path) -> None:
    """Gradients (their running mean in the optimiser) agree to 1e-5 of their largest value."""
    states = []
    for name, launcher in (("one", []), ("two", ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"])):
        # Dropout differs from process to process, so it is off here.
        option_file = training_recipe.write(
            tmp_path / f"{name}.yml", data, name=name, train__niter=2, train__T_period=[2], network_G__dp=0.0
        )
        command = [sys.executable, *launcher, TRAIN, "-opt", str(option_file), "--root", str(tmp_path)]
        subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
        states.append(checkpoint.load_last(tmp_path / "experiments" / name / "training_state"))
    one, two = states
    for key, moments in one["optimizer"]["state"].items():
        gradient, other = moments["exp_avg"], two["optimizer"]["state"][key]["exp_avg"]
        torch.testing.assert_close(other, gradient, rtol=0, atol=1e-5 * max(float(gradient.abs().max()), 1e-3))
    scores = [[row[:3] for row in curve(tmp_path / "experiments" / name)[1:]] for name in ("one", "two")]
    assert scores[0]
    for row, other in zip(*scores, strict=True):
        assert row[:2] == other[:2]
        assert float(row[2]) == pytest.approx(float(other[2]), abs=1e-2)
    for key, weight in one["average"].items():
        # After two steps of Adam a weight is off by at most the sum of two steps where its gradient is noise.
        torch.testing.assert_close(two["average"][key], weight, rtol=0, atol=5e-3)


def test_finished_training_is_left_alone(uninterrupted: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    root = uninterrupted.parents[1]
    before = (uninterrupted / "training_state" / "00000009.state").stat().st_mtime_ns
    assert run_command_line(train.main, ["-opt", str(root / "test.yml"), "--root", str(root)]) == 0
    assert "all 9 iterations are done" in capsys.readouterr().out
    assert (uninterrupted / "training_state" / "00000009.state").stat().st_mtime_ns == before


def test_changed_option_file_is_one_line(uninterrupted: Path, capsys: pytest.CaptureFixture) -> None:
    root = uninterrupted.parents[1]
    arguments = ["-opt", str(root / "test.yml"), "--root", str(root), "--set", "train.lr_G=0.1"]
    assert run_command_line(train.main, arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert run_command_line(train.main, [*arguments, "--accept-changes"]) == 0


def test_changed_images_are_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    copy = shutil.copytree(data, tmp_path / "copy")
    short = {"train__niter": 2, "train__T_period": [2], "datasets__val": {}}
    arguments = ["-opt", str(training_recipe.write(tmp_path / "test.yml", copy, **short)), "--root", str(tmp_path)]
    assert run_command_line(train.main, arguments) == 0
    (copy / "GT" / "b.png").unlink()
    capsys.readouterr()
    assert run_command_line(train.main, arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search("2 images with checksum .* then, 1 images with checksum .* now", error)
    assert run_command_line(train.main, [*arguments, "--accept-changes"]) == 0


def test_no_checkpoint_within_a_run_of_skipped_steps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 4 to 8 are not finite: the checkpoints of 4, 6 and 8 are not written, that of the end is."""
    step = train.Trainer.step

    def failing(self: train.Trainer, batch: train.Sample) -> dict[str, float]:
        bad = batch._replace(blurry=batch.blurry * float("nan"))
        return step(self, bad if 4 <= self.iteration + 1 <= 8 else batch)

    written = []
    save = checkpoint.save
    monkeypatch.setattr(train.Trainer, "step", failing)
    monkeypatch.setattr(checkpoint, "save", lambda *arguments: written.append(arguments[1]) or save(*arguments))
    option_file = training_recipe.write(tmp_path / "test.yml", data, datasets__val={}, baselines={})
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path)]) == 0
    assert written == [2, 9]


def test_without_validation_sets_nothing_is_best(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    option_file = training_recipe.write(tmp_path / "test.yml", data, datasets__val={}, baselines={})
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path)]) == 0
    assert [path.name for path in (tmp_path / "experiments" / "test" / "models").iterdir()] == ["last.safetensors"]
    assert not (tmp_path / "experiments" / "test" / "validation.csv").exists()
    assert " validation  " not in capsys.readouterr().out
    with_a_set = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(with_a_set), "--root", str(tmp_path), "--out", str(tmp_path / "weights")]
    assert run_command_line(export_weights.main, arguments) == 1
    assert "it was trained without validation sets" in capsys.readouterr().err


def test_exported_weights_know_their_iteration(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    """The card tells the iteration of best.safetensors, whatever the curve tells of other validation sets."""
    experiment = shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    best = int(read_notes(experiment / "models" / "best.safetensors")["iteration"])
    scores = {int(row[0]): float(row[2]) for row in curve(experiment)[1:]}
    assert scores[best] == max(scores.values())
    with open(experiment / "validation.csv", "a", encoding="utf-8") as file:
        file.write("2,easier_set,99.0,1.0,0.5\n")
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--root", str(tmp_path), "--out", str(tmp_path / "weights")]
    assert run_command_line(export_weights.main, arguments) == 0
    card = read_yaml(tmp_path / "weights.yml")
    assert card["iterations"] == best
    assert "decay 0.9" in card["stored_as"]
    assert read_notes(tmp_path / "weights.safetensors") == {"iteration": str(best)}


def test_exported_blend_lies_between(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    own = read_weights(uninterrupted / "models" / "best.safetensors")
    other = {key: tensor + 1 for key, tensor in own.items()}
    save_file(other, tmp_path / "other.safetensors")
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--root", str(uninterrupted.parents[1]), "--out", str(tmp_path / "weights")]
    arguments += ["--blend", str(tmp_path / "other.safetensors"), "--share", "0.25"]
    assert run_command_line(export_weights.main, arguments) == 0
    for key, tensor in read_weights(tmp_path / "weights.safetensors").items():
        torch.testing.assert_close(tensor.float(), own[key] + 0.75, atol=2e-3, rtol=1e-3)
    told = f"0.25 of these weights, the rest {tmp_path / 'other.safetensors'}"
    assert read_yaml(tmp_path / "weights.yml")["blend"] == told
    assert read_notes(tmp_path / "weights.safetensors")["blend"] == told


def began_with(experiment: Path, **paths: str) -> Path:
    """Have the experiment's options tell of weights that its training began with."""
    options = experiment / "options.yml"
    options.write_text(to_yaml(read_yaml(options) | {"name": experiment.name, "path": paths}))
    return experiment


def test_the_card_tells_of_the_trainings_before(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    """One of an experiment, which began with exported weights, whose card tells of one before."""
    exported, card = tmp_path / "exported.safetensors", tmp_path / "exported.yml"
    shutil.copy(uninterrupted / "models" / "last.safetensors", exported)
    earliest = {"weights": "denoiser.pth", "seed": 3}
    card.write_text(to_yaml({"seed": 4, "blend": "half and half", "parameters": 1, "begun_with": [earliest]}))
    first, test = (shutil.copytree(uninterrupted, tmp_path / "experiments" / name) for name in ("first", "test"))
    began_with(first, pretrain_denoiser=str(exported))
    weights = first / "models" / "last.safetensors"
    began_with(test, pretrain_model_G=str(weights))
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--root", str(tmp_path), "--out", str(tmp_path / "weights")]
    assert run_command_line(export_weights.main, arguments) == 0
    hours = round(float(read_csv(first / "validation.csv")[-1]["hours"]), 2)
    seed = read_yaml(first / "options.yml")["train"]["manual_seed"]
    assert read_yaml(tmp_path / "weights.yml")["begun_with"] == [
        {"weights": str(weights), "iterations": 9, "name": "first", "seed": seed, "wall_clock_hours": hours},
        {"weights": str(exported), "seed": 4, "blend": "half and half"},
        earliest,
    ]


def test_a_training_exported_to_what_it_began_with(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    """The card beside is then its own, and no training before."""
    weights = tmp_path / "weights.safetensors"
    shutil.copy(uninterrupted / "models" / "last.safetensors", weights)
    began_with(shutil.copytree(uninterrupted, tmp_path / "experiments" / "test"), pretrain_model_G=str(weights))
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--root", str(tmp_path), "--out", str(tmp_path / "weights")]
    for _ in range(2):
        assert run_command_line(export_weights.main, arguments) == 0
        (before,) = read_yaml(tmp_path / "weights.yml")["begun_with"]
        assert before["weights"] == str(weights)
        assert "seed" not in before


def test_trainings_before_of_a_resumed_state(uninterrupted: Path, tmp_path: Path) -> None:
    """With it the weights that the options name are not loaded; without options nothing is known."""
    first, second = (shutil.copytree(uninterrupted, tmp_path / name) for name in ("first", "second"))
    began_with(first)
    state = str(first / "training_state" / "00000009.state")
    began_with(second, pretrain_model_G="gone.pth", resume_state=state)
    (row,) = trainings_before(second)
    assert (row["weights"], row["name"]) == (state, "first")
    (second / "options.yml").unlink()
    assert trainings_before(second) == []


def test_a_curve_without_the_best_iteration_is_one_line(
    uninterrupted: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    experiment = shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    (experiment / "validation.csv").write_text("iteration,set,psnr,ssim,hours\n4,n01,20,0.5,0.1\n")
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--root", str(tmp_path), "--out", str(tmp_path / "weights")]
    assert run_command_line(export_weights.main, arguments) == 1
    assert "has no line of iteration" in capsys.readouterr().err
    assert not list(tmp_path.glob("weights*"))


def test_trainings_before_as_far_as_they_are_known(uninterrupted: Path, tmp_path: Path) -> None:
    """Weights that are gone, a damaged curve, and a training that went on from its own."""
    experiment = shutil.copytree(uninterrupted, tmp_path / "own")
    began_with(experiment, pretrain_model_G=str(tmp_path / "gone.safetensors"), pretrain_denoiser="gone.pth")
    gone = [{"weights": str(tmp_path / "gone.safetensors")}, {"weights": "gone.pth"}]
    assert trainings_before(experiment) == gone
    own = experiment / "models" / "last.safetensors"
    began_with(experiment, pretrain_model_G=str(own))
    assert trainings_before(experiment) == [{"weights": str(own), "iterations": 9}]
    (experiment / "validation.csv").write_text("iteration,hours\n9,\n")
    other = began_with(shutil.copytree(uninterrupted, tmp_path / "other"), pretrain_model_G=str(own))
    row, last = trainings_before(other)
    assert row["name"] == "own"
    assert "wall_clock_hours" not in row
    assert last == {"weights": str(own), "iterations": 9}


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("damaged", "does not tell of a training"),
        ("begun_with: 3", "does not tell of a training, see its key begun_with"),
        ("options: {path: [a]}", "does not tell of a training, see its key options.path"),
    ],
)
def test_a_damaged_card_of_earlier_weights_is_one_line(
    card: str, message: str, uninterrupted: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """And nothing is written."""
    (tmp_path / "earlier.yml").write_text(card)
    experiment = shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    began_with(experiment, pretrain_model_G=str(tmp_path / "earlier.safetensors"))
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--root", str(tmp_path), "--out", str(tmp_path / "weights")]
    assert run_command_line(export_weights.main, arguments) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'earlier.yml'}: {message}\n"
    assert not list(tmp_path.glob("weights*"))


def test_share_without_a_blend_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--out", str(tmp_path / "weights"), "--share", "0.5"]
    assert run_command_line(export_weights.main, arguments) == 1
    assert "--blend" in capsys.readouterr().err


def test_export_without_validation_sets_is_one_line(
    uninterrupted: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    option_file = training_recipe.write(tmp_path / "test.yml", data, datasets__val={})
    arguments = ["-opt", str(option_file), "--root", str(uninterrupted.parents[1]), "--out", str(tmp_path / "weights")]
    assert run_command_line(export_weights.main, arguments) == 1
    assert "a validation set is needed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test.yml"]


def test_preview_without_a_suffix_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    arguments = ["-opt", str(option_file), "--out", str(tmp_path / "sheet")]
    assert run_command_line(preview_training_data.main, arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ends in .png" in error


def test_mistake_in_a_data_worker_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    copy = shutil.copytree(data, tmp_path / "copy")
    for image in (copy / "GT").iterdir():
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])  # the header is whole
    option_file = training_recipe.write(tmp_path / "test.yml", copy, datasets__val={}, baselines={})
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"error: {copy}")
    assert "not a readable image" in error


def test_mistake_is_the_last_that_torchrun_says(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", TRAIN]
    run = subprocess.run(
        [*command, "-opt", str(tmp_path / "none.yml")], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert run.returncode != 0
    assert f"error: {tmp_path / 'none.yml'}" in run.stderr.rpartition("Root Cause")[2]


def test_accepted_changes_take_effect(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    """--accept-changes trains with the new learning rate and weight decay, not with the checkpoint's."""
    shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    option_file = training_recipe.write(tmp_path / "test.yml", data, train__niter=10, train__lr_G=0.125)
    arguments = ["-opt", str(option_file), "--root", str(tmp_path), "--set", "train.weight_decay_G=0.25"]
    assert run_command_line(train.main, [*arguments, "--accept-changes"]) == 0
    state = checkpoint.load_last(tmp_path / "experiments" / "test" / "training_state")
    (group,) = state["optimizer"]["param_groups"]
    assert state["iteration"] == 10
    assert (group["initial_lr"], group["weight_decay"]) == (0.125, 0.25)
    assert state["scheduler"]["base_lrs"] == [0.125]


def test_fewer_iterations_than_are_done_is_one_line(
    uninterrupted: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    option_file = training_recipe.write(tmp_path / "test.yml", data, train__niter=3)
    assert run_command_line(train.main, ["-opt", str(option_file), "--root", str(tmp_path), "--accept-changes"]) == 1
    assert "error: train.niter is 3, but iteration 9 is reached already" in capsys.readouterr().err


def test_the_average_is_what_is_kept(uninterrupted: Path) -> None:
    """last.safetensors holds the average, which is neither the weights themselves nor their start."""
    state = checkpoint.load_last(uninterrupted / "training_state")
    kept = read_weights(uninterrupted / "models" / "last.safetensors")
    assert all(torch.equal(kept[key], weight) for key, weight in state["average"].items())
    assert not all(torch.equal(kept[key], weight) for key, weight in state["network"].items())


def test_smoke_recipe(tmp_path: Path) -> None:
    """smoke.yml as it is: trains, validates, logs and keeps everything, in well under a minute."""
    option_file = str(ROOT / "options" / "train" / "smoke.yml")
    start = time.monotonic()
    assert run_command_line(train.main, ["-opt", option_file, "--root", str(tmp_path)]) == 0
    assert time.monotonic() - start < 60
    experiment = tmp_path / "experiments" / "smoke"
    assert sorted(path.name for path in experiment.iterdir()) == [
        "models",
        "options.yml",
        "training_state",
        "val_images",
        "validation.csv",
    ]
    assert [path.suffix for path in (experiment / "val_images" / "n01").iterdir()] == [".png"]
    assert {row[0] for row in curve(experiment)[1:]} == {"5", "10"}
    events = EventAccumulator(str(tmp_path / "tb_logger" / "smoke")).Reload()
    expected = {"train/loss", "train/lr", "train/grad_norm", "train/images_per_second", "train/data_wait_share"}
    assert expected <= set(events.Tags()["scalars"])
    lines = {
        name: EventAccumulator(str(tmp_path / "tb_logger" / "smoke" / name)).Reload() for name in ("network", "x0")
    }
    for line in lines.values():
        assert line.Tags()["scalars"] == ["psnr/n01", "ssim/n01"]
    assert [event.step for event in lines["network"].Scalars("psnr/n01")] == [5, 10]
    assert events.Tags()["images"] == ["blurry_restored_truth/n01"]
    assert "options/text_summary" in events.Tags()["tensors"]
    sheet = tmp_path / "sheet.png"
    assert run_command_line(preview_training_data.main, ["-opt", option_file, "--out", str(sheet)]) == 0
    assert sheet.is_file()
    arguments = ["-opt", option_file, "--root", str(tmp_path), "--out", str(tmp_path / "weights"), "--note", "n"]
    assert run_command_line(export_weights.main, arguments) == 0
    card = read_yaml(tmp_path / "weights.yml")
    assert card["note"] == "n"
    assert card["validation_images"] == {"n01": 4}
    assert set(card["validation"]) == {"network", "x0"}
    exported = read_weights(tmp_path / "weights.safetensors")
    assert {tensor.dtype for tensor in exported.values()} == {torch.float16}
    assert (tmp_path / "weights.png").is_file()
    assert (tmp_path / "weights.csv").read_text() == (experiment / "validation.csv").read_text()


def test_every_recipe_is_valid() -> None:
    for path in sorted((ROOT / "options" / "train").glob("*.yml")):
        options = train.load_options(train.TrainOptions, path)
        assert options.name == path.stem
