"""Whole trainings by train.py: from beginning to end, interrupted, in several processes."""

import csv
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from codes import train
from codes.data.images import decode
from codes.inference import restorer
from codes.models.factory import build_network
from codes.models.weights import read_notes, read_weights, save_weights
from codes.scripts import export_weights, preview_training_data
from codes.training import checkpoint
from codes.utils.errors import run_command_line
from codes.utils.yaml_files import read_yaml
from tests import training_recipe
from tests.conftest import full_disk, one_error
from tests.released import ReleasedDSDNet

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "codes" / "train.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", TRAIN]
# No validation, for tests of something else.
UNSCORED = {"datasets__val": {}}


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    assert learn(root, data) == 0
    return root / "experiments" / "test"


def learn(root: Path, data: Path, *arguments: str, **overrides) -> int:
    """Train in this process; returns the exit status."""
    option_file = training_recipe.write(root / "test.yml", data, **overrides)
    return run_command_line(train.main, ["-opt", str(option_file), "--root", str(root), *arguments])


def started_until(command: list[str], step: str) -> subprocess.Popen:
    """A training in a process group of its own that has just printed the line of `step`, such as 3/1000."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes, env=ENVIRONMENT, start_new_session=True)
    for line in process.stdout:
        if line.split()[0] == step:
            break
    return process


def export(root: Path, data: Path, *arguments: str, **overrides) -> int:
    """Export to <root>/weights.*; returns the exit status."""
    option_file = training_recipe.write(root / "test.yml", data, **overrides)
    paths = ["-opt", str(option_file), "--root", str(root), "--out", str(root / "weights")]
    return run_command_line(export_weights.main, [*paths, *arguments])


def curve(experiment: Path) -> list[list[str]]:
    with open(experiment / "validation.csv", encoding="utf-8", newline="") as file:
        return [row[:-1] for row in csv.reader(file)]  # without the hours


def assert_same_state(one: dict, other: dict) -> None:
    """Every tensor and number equal to the last bit; the hours and the paths of files may differ."""
    assert one.keys() == other.keys()
    for key in one.keys() - {"hours", "options"}:
        if isinstance(one[key], dict):
            assert_same_state(one[key], other[key])
        else:
            same = torch.equal if isinstance(one[key], torch.Tensor) else operator.eq
            assert same(one[key], other[key]), key


def assert_same_training(experiment: Path, expected: Path) -> None:
    final, other = (checkpoint.load_last(folder / "training_state") for folder in (experiment, expected))
    assert final["iteration"] == 9
    assert_same_state(final, other)
    assert curve(experiment) == curve(expected)
    for name in ("best", "last"):
        files = (folder / "models" / f"{name}.safetensors" for folder in (experiment, expected))
        assert_same_state(*map(read_weights, files))


def test_killed_and_interrupted_training_ends_bit_identical(data, uninterrupted, tmp_path):
    """Ctrl-C, sent to the whole process group, saves a checkpoint; kill -9 loses what came after the last one."""
    option_file = training_recipe.write(tmp_path / "test.yml", data)
    command = [sys.executable, TRAIN, "-opt", str(option_file), "--root", str(tmp_path)]
    states = tmp_path / "experiments" / "test" / "training_state"
    for number, at in ((signal.SIGINT, 3), (signal.SIGKILL, 7)):
        process = started_until(command, f"{at}/9")
        os.killpg(process.pid, number)
        out, err = process.communicate()
        reached = checkpoint.load_last(states)["iteration"]
        if number == signal.SIGKILL:
            assert process.returncode == -number
            assert reached == 6
        else:
            assert process.returncode == 128 + number
            assert reached >= at
            said = f"Stopped at iteration {reached}; the same command continues from {states / f'{reached:08d}.state'}"
            assert out.splitlines()[-1] == said
            assert not err
    again = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert "continuing from iteration 6" in again.stdout
    assert "Best: iteration " in again.stdout.splitlines()[-1]
    assert_same_training(tmp_path / "experiments" / "test", uninterrupted)


def signal_at_restoring(monkeypatch: pytest.MonkeyPatch, number: int) -> list:
    """Send a signal to this process whenever an image is about to be restored; returns the calls."""
    restore, calls = restorer.Restorer.restore, []

    def interrupted(*arguments, **keys):
        calls.append(arguments)
        os.kill(os.getpid(), number)
        return restore(*arguments, **keys)

    monkeypatch.setattr(restorer.Restorer, "restore", interrupted)
    return calls


def test_signal_within_a_validation(data, uninterrupted, tmp_path, monkeypatch):
    """The validation ends early, without a result, and is repeated when training continues."""
    calls = signal_at_restoring(monkeypatch, signal.SIGTERM)
    assert learn(tmp_path, data) == 128 + signal.SIGTERM
    assert len(calls) == 1
    experiment = tmp_path / "experiments" / "test"
    assert checkpoint.load_last(experiment / "training_state")["iteration"] == 5
    assert not (experiment / "validation.csv").exists()
    monkeypatch.undo()
    assert learn(tmp_path, data) == 0
    assert_same_training(experiment, uninterrupted)


def test_finished_training_is_left_alone(uninterrupted, data, capsys):
    last = uninterrupted / "training_state" / "00000009.state"
    before = last.stat().st_mtime_ns
    assert learn(uninterrupted.parents[1], data) == 0
    assert "all 9 iterations are done" in capsys.readouterr().out
    assert last.stat().st_mtime_ns == before


def test_the_average_is_kept(uninterrupted):
    """last.safetensors holds the average, which is neither the weights themselves nor their start."""
    state = checkpoint.load_last(uninterrupted / "training_state")
    kept = read_weights(uninterrupted / "models" / "last.safetensors")
    assert all(torch.equal(kept[key], weight) for key, weight in state["average"].items())
    assert not all(torch.equal(kept[key], weight) for key, weight in state["network"].items())


def test_no_checkpoint_within_a_series_of_skipped_steps(data, tmp_path, monkeypatch, capsys):
    """Steps 4 to 8 are not finite: the checkpoints of 4, 6 and 8 are not written, that of the end is."""
    step, save, written = train.Trainer.step, checkpoint.save, []

    def failing(self, batch):
        return step(self, batch._replace(blurry=batch.blurry * (float("nan") if 4 <= self.iteration + 1 <= 8 else 1)))

    monkeypatch.setattr(train.Trainer, "step", failing)
    monkeypatch.setattr(checkpoint, "save", lambda *arguments: written.append(arguments[1]) or save(*arguments))
    assert learn(tmp_path, data, **UNSCORED) == 0
    assert written == [2, 9]
    # Without validation sets nothing is best.
    experiment = tmp_path / "experiments" / "test"
    assert [path.name for path in (experiment / "models").iterdir()] == ["last.safetensors"]
    assert not (experiment / "validation.csv").exists()
    assert " validation  " not in capsys.readouterr().out


def test_one_training_at_a_time(data, tmp_path, capsys):
    lock = tmp_path / "experiments" / "test" / "lock"
    lock.parent.mkdir(parents=True)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert learn(tmp_path, data) == 1
        other.communicate(b"\n")
    assert "another training writes there" in one_error(capsys)
    assert [path.name for path in lock.parent.iterdir()] == ["lock"]


def test_changed_option_file(uninterrupted, data, tmp_path, capsys):
    """Refused in one line; --accept-changes trains with the new learning rate and weight decay."""
    shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    changes = {"train__niter": 10, "train__T_period": [9], "train__lr_G": 0.125, "train__weight_decay_G": 0.25}
    assert learn(tmp_path, data, **changes) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert learn(tmp_path, data, "--accept-changes", **changes) == 0
    state = checkpoint.load_last(tmp_path / "experiments" / "test" / "training_state")
    (group,) = state["optimizer"]["param_groups"]
    assert state["iteration"] == 10
    assert (group["initial_lr"], group["weight_decay"]) == (0.125, 0.25)
    assert state["scheduler"]["base_lrs"] == [0.125]
    capsys.readouterr()
    assert learn(tmp_path, data, "--accept-changes", train__niter=3) == 1
    assert "error: train.niter is 3, but iteration 10 is reached already" in capsys.readouterr().err


@pytest.mark.parametrize("better", [True, False])
def test_fine_tuning_is_compared_with_its_start(better, uninterrupted, data, tmp_path, capsys):
    """Its start is validated, drawn in tensorboard and named at the end; a worse end leaves the start as best."""
    start = uninterrupted / "models" / "best.safetensors"
    overrides = {"path__pretrain_model_G": str(start), "use_tb_logger": True, "train__ema_decay": 0.0}
    overrides["train__lr_G"] = 1e-3 if better else 1.0
    assert learn(tmp_path, data, **overrides) == 0
    experiment = tmp_path / "experiments" / "test"
    rows = curve(experiment)[1:]
    assert [row[0] for row in rows] == ["0", "5", "9"]
    psnr = {int(row[0]): float(row[2]) for row in rows}
    line = capsys.readouterr().out.splitlines()[-1]
    best = read_notes(experiment / "models" / "best.safetensors")["iteration"]
    assert psnr[int(best)] == max(psnr.values())
    assert (int(best) > 0) == better
    assert ("dB better than the start" in line) == better
    assert ("No iteration beats the start" in line) != better
    events = EventAccumulator(str(tmp_path / "tb_logger" / "test" / "start")).Reload().Scalars("psnr/n03")
    assert [event.step for event in events] == [0, 5, 9]
    assert {round(event.value, 3) for event in events} == {round(psnr[0], 3)}


def test_signal_within_the_validation_of_the_start(uninterrupted, data, tmp_path, monkeypatch, capfd):
    """Nothing is saved, so the same command begins again. Its first and last steps are reported in any case."""
    fine = {"path__pretrain_model_G": str(uninterrupted / "models" / "best.safetensors"), "logger__print_freq": 100}
    signal_at_restoring(monkeypatch, signal.SIGINT)
    assert learn(tmp_path, data, **fine) == 128 + signal.SIGINT
    monkeypatch.undo()
    said = ["validating the start ...", "stopping after this step ..."]
    said.append("Stopped at iteration 0; the same command begins again")
    assert capfd.readouterr().out.splitlines()[1:] == said
    experiment = tmp_path / "experiments" / "test"
    assert not checkpoint.existing(experiment / "training_state")
    assert learn(tmp_path, data, **fine) == 0
    assert [row[0] for row in curve(experiment)[1:]] == ["0", "5", "9"]
    steps = [line.split() for line in capfd.readouterr().out.splitlines() if re.match(r" +\d/9 ", line)]
    assert [step[0] for step in steps] == ["1/9", "9/9"]
    assert float(steps[-1][steps[-1].index("lr") + 1]) == pytest.approx(3.015e-5, rel=1e-3)  # that of the last step


def test_masks_only_for_a_network_that_uses_them(data, tmp_path, capsys):
    short = {"datasets__train__masks": 0.5, "train__niter": 2, **UNSCORED}
    options = tmp_path / "experiments" / "test" / "options.yml"
    assert learn(tmp_path, data, **short, network_G__solver="fft") == 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "does not use masks, so none are drawn" in error
    assert read_yaml(options)["datasets"]["train"]["masks"] == 0
    assert learn(tmp_path, data, **short, name="other") == 0
    assert not capsys.readouterr().err
    assert read_yaml(tmp_path / "experiments" / "other" / "options.yml")["datasets"]["train"]["masks"] == 0.5


def test_two_processes_train_as_one(data, tmp_path):
    """Gradients (their running mean in the optimiser) agree to 1e-5 of their largest value."""
    # Dropout differs from process to process, so it is off here.
    short = {"train__niter": 2, "network_G__dp": 0.0}
    assert learn(tmp_path, data, **short, name="one") == 0
    option_file = training_recipe.write(tmp_path / "two.yml", data, **short, name="two")
    command = [*TORCHRUN, "-opt", str(option_file), "--root", str(tmp_path)]
    subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    one, two = (checkpoint.load_last(tmp_path / "experiments" / name / "training_state") for name in ("one", "two"))
    for key, moments in one["optimizer"]["state"].items():
        gradient, other = moments["exp_avg"], two["optimizer"]["state"][key]["exp_avg"]
        torch.testing.assert_close(other, gradient, rtol=0, atol=1e-5 * max(float(gradient.abs().max()), 1e-3))
    scores = [[row[:3] for row in curve(tmp_path / "experiments" / name)[1:]] for name in ("one", "two")]
    assert scores[0]
    for row, other in zip(*scores, strict=True):
        assert row[:2] == other[:2]
        assert float(row[2]) == pytest.approx(float(other[2]), abs=1e-2)
    for key, weight in one["average"].items():
        # After two steps of Adam a weight is off by at most the sum of two steps, if its gradient is noise.
        torch.testing.assert_close(two["average"][key], weight, rtol=0, atol=5e-3)


def test_stopping_two_processes(data, tmp_path):
    """torchrun reports the signal at length; our processes print one line and agree on the iteration."""
    option_file = training_recipe.write(tmp_path / "test.yml", data, train__niter=1000, **UNSCORED)
    process = started_until([*TORCHRUN, "-opt", str(option_file), "--root", str(tmp_path)], "3/1000")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    reached = checkpoint.load_last(tmp_path / "experiments" / "test" / "training_state")["iteration"]
    assert out.splitlines()[-1].startswith(f"Stopped at iteration {reached}; ")
    assert err.count("Traceback") == err.count("SignalException: Process") == 1


def test_mistake_is_the_last_line_of_torchrun(tmp_path):
    command = [*TORCHRUN[:4], "--nproc_per_node=1", TRAIN, "-opt", str(tmp_path / "none.yml")]
    run = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert run.returncode != 0
    assert f"error: {tmp_path / 'none.yml'}" in run.stderr.rpartition("Root Cause")[2]


def test_mistake_in_a_data_worker_is_one_line(data, tmp_path, capsys):
    copy = shutil.copytree(data, tmp_path / "copy")
    for image in (copy / "GT").iterdir():
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])  # the header is complete
    assert learn(tmp_path, copy, **UNSCORED) == 1
    error = one_error(capsys)
    assert error.startswith(f"error: {copy}")
    assert "not a readable image" in error


@pytest.mark.parametrize(
    "damage", [b"iteration,set\n4,n03\n", b"iteration,set,psnr,ssim,hours\n4,n03,good,0.5,0.1\n", b"\xff"]
)
def test_a_damaged_curve_is_named(damage, uninterrupted, data, tmp_path, capsys):
    experiment = shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    (experiment / "validation.csv").write_bytes(damage)
    assert learn(tmp_path, data) == 1
    assert "validation.csv: is damaged; repair it, or remove it" in one_error(capsys)


def test_tensorboard_on_a_full_disk(data, tmp_path, capsys):
    """The error of tensorboard's thread is one line; the lines of the thread itself are not shown."""
    (tmp_path / "experiments" / "test" / "models").mkdir(parents=True)
    left_over = tmp_path / "experiments" / "test" / "models" / ".best-a1_b2c3d.safetensors"
    left_over.write_bytes(b"a process was killed while it wrote this")
    frequent = {"train__niter": 60, "logger__save_checkpoint_freq": 1000, "use_tb_logger": True}
    frequent["datasets__train__n_workers"] = 0  # memory shared with a worker counts as a file
    with full_disk(4000):
        assert learn(tmp_path, data, **frequent, **UNSCORED) == 1
    assert re.search(r"test/?\); [\d.]+ MB are free there", one_error(capsys))
    assert not left_over.exists()


def test_smoke_recipe(tmp_path):
    """smoke.yml as it is trains, validates, logs and saves everything, in well under a minute."""
    option_file = str(ROOT / "options" / "train" / "smoke.yml")
    start = time.monotonic()
    assert run_command_line(train.main, ["-opt", option_file, "--root", str(tmp_path)]) == 0
    assert time.monotonic() - start < 60
    experiment, logs = tmp_path / "experiments" / "smoke", tmp_path / "tb_logger" / "smoke"
    files = ["lock", "models", "options.yml", "train.log", "training_state", "val_images", "validation.csv"]
    assert sorted(path.name for path in experiment.iterdir()) == files
    assert [path.suffix for path in (experiment / "val_images" / "n01").iterdir()] == [".png"]
    assert {row[0] for row in curve(experiment)[1:]} == {"5", "10"}
    events = EventAccumulator(str(logs)).Reload()
    expected = {"train/loss", "train/lr", "train/grad_norm", "train/images_per_second", "train/data_wait_share"}
    assert expected <= set(events.Tags()["scalars"])
    lines = {name: EventAccumulator(str(logs / name)).Reload() for name in ("network", "x0")}
    assert all(line.Tags()["scalars"] == ["psnr/n01", "ssim/n01"] for line in lines.values())
    assert [event.step for event in lines["network"].Scalars("psnr/n01")] == [5, 10]
    assert events.Tags()["images"] == ["blurry_restored_truth/n01"]
    assert "options/text_summary" in events.Tags()["tensors"]
    sheet = tmp_path / "sheet.png"
    assert run_command_line(preview_training_data.main, ["-opt", option_file, "--out", str(sheet)]) == 0
    rows = len(decode(sheet))
    camera = ["--set", "datasets.train.camera={jpeg: 0.1, wrong_kernel: 0.2}"]
    assert run_command_line(preview_training_data.main, ["-opt", option_file, "--out", str(sheet), *camera]) == 0
    assert len(decode(sheet)) == rows + 2 * (preview_training_data.TILE + preview_training_data.GAP)
    arguments = ["-opt", option_file, "--root", str(tmp_path), "--out", str(tmp_path / "weights"), "--note", "n"]
    assert run_command_line(export_weights.main, arguments) == 0
    card = read_yaml(tmp_path / "weights.yml")
    assert card["note"] == "n"
    assert card["validation_images"] == {"n01": 4}
    assert set(card["validation"]) == {"network", "x0"}
    exported = read_weights(tmp_path / "weights.safetensors")
    assert {tensor.dtype for tensor in exported.values()} == {torch.float16}
    assert np.ptp(decode(tmp_path / "weights.png")) > 200
    assert not (tmp_path / "weights.pth").exists()
    assert (tmp_path / "weights.csv").read_text() == (experiment / "validation.csv").read_text()


def test_a_finished_training_is_scored_on_changed_validation_sets(uninterrupted, data, tmp_path, capsys):
    shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    assert learn(tmp_path, data, train__val_images=1) == 0
    output = capsys.readouterr().out
    assert " validation " in output
    assert re.search(r"Best: iteration \d+, [1-9]\d\.\d\d dB", output)


def test_every_recipe_is_valid():
    for path in sorted((ROOT / "options" / "train").glob("*.yml")):
        options = train.load_options(train.TrainOptions, path)
        assert options.name == path.stem


def test_exported_weights_know_their_iteration(uninterrupted, data, tmp_path):
    """The card names the iteration of best.safetensors, whatever the curve says about other validation sets."""
    experiment = shutil.copytree(uninterrupted, tmp_path / "experiments" / "test")
    best = int(read_notes(experiment / "models" / "best.safetensors")["iteration"])
    scores = {int(row[0]): float(row[2]) for row in curve(experiment)[1:]}
    assert scores[best] == max(scores.values())
    with open(experiment / "validation.csv", "a", encoding="utf-8") as file:
        file.write("2,easier_set,99.0,1.0,0.5\n")
    assert export(tmp_path, data) == 0
    card = read_yaml(tmp_path / "weights.yml")
    assert card["iterations"] == best
    assert "decay 0.9" in card["stored_as"]
    assert read_notes(tmp_path / "weights.safetensors") == {"iteration": str(best)}


def test_released_weights_load_into_the_released_class(data, tmp_path, capsys):
    """The literal released network gives the same image as ours, with U-Nets whose outputs are not zero."""
    small = {"network_G": {"which_model_G": "DSDNet", "nf_p": 4, "nf_d": 6, "nb": 2}, "train__niter": 1}
    best = tmp_path / "experiments" / "test" / "models" / "best.safetensors"
    assert learn(tmp_path, data, **small) == 0
    network = build_network(training_recipe.options(data, **small).network_G)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.copy_(0.3 * torch.randn_like(weight) / max(1, weight[0].numel()) ** 0.5)
            if name.endswith("u0.m.2.bias"):
                weight.fill_(0.01)
    save_weights(network, best, notes={"iteration": "1"})
    assert export(tmp_path, data, "--released", **small) == 0
    shares = read_yaml(tmp_path / "weights.yml")["nonzero_unet_outputs"]
    assert len(shares) == 2
    assert min(shares) > 0.3
    released = ReleasedDSDNet(prior=4, data=6, stages=2)
    released.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True), strict=True)
    network.half().float()
    blurry, kernel = torch.rand(1, 3, 40, 48), torch.rand(1, 9, 9)
    kernel /= kernel.sum()
    with torch.no_grad():
        expected, x0 = network(blurry, kernel), network.initial(blurry, kernel)
        assert (expected - x0).abs().max() > 1e-3
        torch.testing.assert_close(released(blurry, kernel, x0), expected, atol=2e-5, rtol=0)
    small["network_G"]["solver"] = "fft"
    save_weights(build_network(training_recipe.options(data, **small).network_G), best, notes={"iteration": "1"})
    assert export(tmp_path, data, "--released", **small) == 1
    assert "only the paper's DSDNet" in capsys.readouterr().err


NO_CURVE = "iteration,set,psnr,ssim,hours\n4,n01,20,0.5,0.1\n"


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        (lambda folder: (folder / "validation.csv").write_text(NO_CURVE), {}, "has no line of iteration"),
        (lambda folder: (folder / "models/best.safetensors").unlink(), {}, "it was trained without validation sets"),
        (lambda folder: shutil.rmtree(folder / "models"), {}, "train .*test.yml first"),
        (lambda folder: None, UNSCORED, "a validation set is needed"),
    ],
)
def test_an_incomplete_training_is_not_exported(change, overrides, message, uninterrupted, data, tmp_path, capsys):
    change(shutil.copytree(uninterrupted, tmp_path / "experiments" / "test"))
    assert export(tmp_path, data, **overrides) == 1
    assert re.search(message, one_error(capsys))
    assert not list(tmp_path.glob("weights*"))
