"""codes/test.py from the option file to the tables, in-process but for torchrun."""

import ast
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from codes import test as test_script
from codes.data import preparation
from codes.data.images import decode, read_image, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake
from codes.data.kernels import write_kernel
from codes.evaluation.evaluator import Evaluator
from codes.evaluation.metrics import quality
from codes.models.factory import build_network
from codes.models.weights import save_weights
from codes.options import network_options
from codes.scripts import prepare_datasets, run_tables
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import PUBLISHED, read_csv
from studies import publish
from tests.conftest import ROOT, one_error, random_sharp, roots_of

SMALL = {"preset": "light", "nf_p": 4, "nf_d": 4, "nb": 1, "nf_n": 8}


def small_network(**keys):
    return build_network(network_options(SMALL | keys, "small"))


def run(*arguments):
    return run_command_line(test_script.main, [str(argument) for argument in arguments])


@pytest.fixture
def project(tmp_path):
    """A small set, weights, and an option file for them."""
    preparation.synthesise(tmp_path / "Set", random_sharp("abc", (40, 48), 9))
    sets = {n: {"name": f"Set_n0{n}", "mode": "LQGTDB"} | roots_of(tmp_path / "Set", f"Noise_0{n}") for n in (1, 5)}
    options = {"name": "trial", "gpu_ids": [], "network_G": SMALL}
    options["datasets"] = {f"test_{n}": entry for n, entry in sets.items()}
    options["path"] = {"pretrain_model_G": str(tmp_path / "net.safetensors")}
    save_weights(small_network(), tmp_path / "net.safetensors")
    (tmp_path / "options.yml").write_text(yaml.safe_dump(options, sort_keys=False))
    return tmp_path


def overrides(*values):
    return [word for value in values for word in ("--set", str(value))]


def call(project, *arguments):
    return run("-opt", project / "options.yml", "--results", project / "results", *arguments)


@pytest.fixture
def asked(monkeypatch):
    """The images that are evaluated, as (set, image); an exception in `asked.stop` is raised at the third one."""

    class Asked(list):
        stop: BaseException | None = None

    evaluated, evaluate = Asked(), Evaluator.evaluate

    def spy(self, test_set, dataset, index):
        if evaluated.stop is not None and index == 2:
            raise evaluated.stop
        evaluated.append((test_set.name, dataset.name(index)))
        return evaluate(self, test_set, dataset, index)

    monkeypatch.setattr(Evaluator, "evaluate", spy)
    return evaluated


def test_one_network(project, capsys):
    assert call(project) == 0
    folder = project / "results" / "trial"
    rows = read_csv(folder / "per_image.csv")
    assert list(rows[0]) == ["set", "image", "psnr", "ssim", "psnr_y", "ssim_y", "seconds", "memory"]
    assert [(row["set"], row["image"]) for row in rows] == [(f"Set_n0{n}", name) for n in (1, 5) for name in "abc"]
    # The scores are those of the saved files.
    for row in rows:
        truth = to_8bit(read_image(project / "Set" / "GT" / f"{row['image']}.png"))
        restored = to_8bit(read_image(folder / row["set"] / f"{row['image']}.png"))
        assert float(row["psnr"]) == pytest.approx(quality(truth, restored).psnr, abs=1e-4)
    summary = read_csv(folder / "summary.csv")
    mean = np.mean([float(row["psnr"]) for row in rows[:3]])
    assert float(summary[0]["psnr"]) == pytest.approx(mean, abs=1e-3)
    assert "| trial" in (folder / "table.md").read_text()
    assert yaml.safe_load((folder / "options.yml").read_text())["network_G"]["nf_p"] == 4
    assert "| trial" in capsys.readouterr().out


def test_an_error_in_a_network_is_traced(project, monkeypatch, capsys):
    """The message names file and line, errors.log has the traceback of this run only."""

    def failing(*_):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("codes.models.paper.solver.System.residual", failing)
    for _ in range(2):
        assert call(project, "--set", "max_images=1") == 1
    log = project / "results" / "trial" / "errors.log"
    errors = capsys.readouterr().err.splitlines()
    assert re.search(rf"multiplied \(cgnet.py, line \d+; traceback in {log}\)$", errors[-1])
    assert log.read_text().count("Traceback") == 2  # one image of each set
    assert "in failing" in log.read_text()
    monkeypatch.undo()
    assert call(project, "--set", "max_images=1") == 0
    assert not log.exists()


def test_several_methods_and_missing_weights(project, capsys):
    methods = (
        "methods={Blurry: {network_G: {which_model_G: Blurry}}, "
        "Gone: {network_G: {preset: light}, path: {pretrain_model_G: Models/gone.pth}}, "
        "Lost: {network_G: {preset: light}, path: {pretrain_model_G: experiments/lost.pth}}, "
        f"Mine: {{network_G: {SMALL}, path: {{pretrain_model_G: '{project / 'net.safetensors'}'}}}}}}"
    )
    assert call(project, *overrides("network_G=~", "path={}", methods, "max_images=2")) == 0
    folder = project / "results" / "trial"
    warnings = capsys.readouterr().err
    assert "Gone is left out: Models/gone.pth does not exist (Models/README.md says" in warnings
    assert "Lost is left out: experiments/lost.pth does not exist\n" in warnings
    assert "Gone" not in (folder / "table.md").read_text()
    assert len(read_csv(folder / "Mine" / "per_image.csv")) == 4
    assert {row["method"] for row in read_csv(folder / "summary.csv")} == {"Blurry", "Mine"}
    blurry = read_image(folder / "Blurry" / "Set_n05" / "a.png")
    np.testing.assert_array_equal(blurry, read_image(project / "Set" / "Noise_05" / "a.png"))


def test_own_weights_replace_the_network_or_add_a_row(project, capsys, monkeypatch):
    own = project / "experiments" / "own net"
    (own / "models").mkdir(parents=True)
    (own / "options.yml").write_text(yaml.safe_dump({"network_G": SMALL | {"nb": 2}}))
    save_weights(small_network(nb=2), own / "models" / "best.safetensors")
    assert call(project, "--weights", own, "--set", "max_images=1") == 0
    resolved = yaml.safe_load((project / "results" / "trial" / "options.yml").read_text())
    assert resolved["network_G"]["nb"] == 2
    methods = overrides("network_G=~", "path={}", "methods=[Blurry]")
    assert call(project, *methods, "--weights", own) == 1
    assert "cannot be called 'own net'" in one_error(capsys)
    own = own.rename(own.with_name("own"))
    monkeypatch.chdir(own)  # the folder's name is not in a path relative to it
    assert call(project, *methods, "--weights", "models/best.safetensors") == 0
    assert {row["method"] for row in read_csv(project / "results" / "trial" / "summary.csv")} == {"Blurry", "own"}
    rows = f"methods={{own: {{network_G: {SMALL}, path: {{pretrain_model_G: '{project / 'net.safetensors'}'}}}}}}"
    assert call(project, *overrides("network_G=~", "path={}", rows), "--weights", own) == 1
    assert "a row is already called 'own'; rename the folder" in one_error(capsys)


def test_a_failing_image_does_not_lose_the_others(project, capsys):
    (project / "Set" / "Noise_01" / "b.png").write_bytes(b"damaged")
    assert call(project) == 1
    folder = project / "results" / "trial"
    rows = read_csv(folder / "per_image.csv")
    assert len(rows) == 5
    assert ("Set_n01", "b") not in {(row["set"], row["image"]) for row in rows}
    error = one_error(capsys)
    assert error.startswith("error: trial: Set_n01/b: ")
    assert "b.png: not a readable image" in error
    assert (folder / "table.md").is_file()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network_G.nbb=2", "network_G.nbb: unknown key; did you mean 'nb'?"),
        ("path.pretrain_model_G=~", "the network needs weights"),
        ("path.pretrain_model_G=gone.pth", "gone.pth: no such weight file"),
        ("network_G.nf_p=5", "tensors differ (first: "),
        ("datasets.test_1.dataroot_KM=gone", "gone: no such folder"),
        ("datasets.test_1.dataroot_GT=Datasets/gone", "make it with codes/scripts/prepare_datasets.py"),
        ("network_G.solver=cg_net", "unknown solver 'cg_net'; did you mean 'cgnet'?"),
    ],
)
def test_mistakes_end_in_one_line_before_anything_is_written(project, capsys, override, message):
    assert call(project, *overrides(override)) == 1
    assert message in one_error(capsys)
    assert not (project / "results").exists()


def test_output_that_is_not_finite_is_a_failure(project, capsys):
    network = small_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e12)
    save_weights(network, project / "net.safetensors")
    assert call(project, *overrides("max_images=1")) == 1
    assert "error: trial: Set_n01/a: the restored image has values that are not finite" in capsys.readouterr().err
    assert (project / "results" / "trial" / "table.md").read_text().endswith("No image could be restored.\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "memory is not enough"),
        (
            RuntimeError("DataLoader worker (pid 12) is killed by signal: Bus error. Out of"),
            "memory is not",
        ),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "a data worker (process 12) ended"),
        (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), "a data worker (process 12) ended"),
        (UserError("a\nb " * 200), "a b a b"),
    ],
)
def test_errors_of_pytorch_and_long_ones_are_one_line(capsys, error, message):
    def fail(_):
        raise error

    assert run_command_line(fail, []) == 1
    line = one_error(capsys)
    assert message in line
    assert len(line) <= 307
    error = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        run_command_line(fail, [])


@pytest.mark.parametrize("command", ["blur_images", "deblur", "demo", "estimate_kernel", "test", "train"])
def test_ctrl_c_during_the_imports_ends_without_a_traceback(command):
    """The commands restore the default handler before they import anything else."""
    body = ast.parse((ROOT / "codes" / f"{command}.py").read_text(encoding="utf-8")).body
    assert ast.unparse(body[1]) == "import signal"
    assert "signal.signal(signal.SIGINT, signal.SIG_DFL)" in ast.unparse(body[2])


def test_run_tables_leaves_out_what_lacks_something(project, capsys):
    (project / "options.yml").rename(project / "table_ready.yml")
    text = (project / "table_ready.yml").read_text()
    (project / "table_weights.yml").write_text(text.replace("net.safetensors", "gone.safetensors"))
    (project / "table_data.yml").write_text(text.replace("Kernel", "Gone"))
    (project / "table_broken.yml").write_text(text.replace("gpu_ids", "gpus"))
    fixed = ["--options", str(project), "--results", str(project / "results")]
    assert run_command_line(run_tables.main, [*fixed, *overrides("max_images=1")]) == 1
    captured = capsys.readouterr()
    assert "table_broken.yml: gpus: unknown key; did you mean 'gpu_ids'?" in captured.err
    for name, file in (("weights", "gone.safetensors"), ("data", "Gone")):
        assert re.search(rf"table_{name}: left out.*{file} is missing", captured.out)
    assert (project / "results" / "trial" / "table.md").is_file()


def test_only_complete_runs_are_published(project, asked):
    run_folder, target = project / "results" / "trial", project / "published"

    def refused(reason):
        with pytest.raises(UserError, match=reason):
            publish.publish(run_folder, target)

    refused("this run is not finished")
    assert call(project, "--set", "max_images=1") == 0
    refused("only 1 images of each set were run")
    assert call(project) == 0
    publish.publish(run_folder, target)
    copied = sorted(path.name for path in target.rglob("*") if path.is_file())
    assert copied == ["options.yml", "per_image.csv", "summary.csv", "table.csv", "table.md", "table.tex"]
    summary = (run_folder / "summary.csv").read_text().splitlines()
    shorter = summary[1].replace(",3,", ",2,", 1).replace("trial", "other", 1)
    (run_folder / "summary.csv").write_text("\n".join([*summary, shorter]) + "\n")
    refused("images are missing")
    asked.stop = KeyboardInterrupt()
    assert call(project) == 130
    refused("this run is not finished")


def test_an_interruption_stops_all_tables(project, asked):
    text = (project / "options.yml").read_text()
    for name in ("table_1", "table_2"):
        (project / f"{name}.yml").write_text(text.replace("name: trial", f"name: {name}"))
    asked.stop = KeyboardInterrupt()
    arguments = ["--options", str(project), "--results", str(project / "results")]
    assert run_command_line(run_tables.main, arguments) == 130
    assert len(asked) == 2


def test_resume_restores_only_what_is_missing(project, asked):
    assert call(project) == 0
    folder = project / "results" / "trial"
    whole = (folder / "table.md").read_text()
    (folder / "Set_n05" / "b.png").unlink()
    scores = folder / "per_image.csv"
    lines = scores.read_text().splitlines()
    scores.write_text("\n".join([lines[0], lines[1].replace(lines[1].split(",")[2], "damaged", 1), *lines[2:], ""]))
    asked.clear()
    assert call(project, "--resume") == 0
    assert asked == [("Set_n01", "a"), ("Set_n05", "b")]
    assert len(read_csv(scores)) == 6
    assert whole.splitlines()[2] == (folder / "table.md").read_text().splitlines()[2]

    def evaluated(*arguments):
        asked.clear()
        assert call(project, *arguments) == 0
        return len(asked)

    # A set that is added or changed is evaluated, the others are kept. Without --resume, all are.
    for change in ("datasets.test_1.name=Another_n05", "datasets.test_1.noise_sigma=0.2"):
        assert evaluated("--resume", "--set", change) == 3
    assert evaluated() == 6
    # Other weights are another method.
    save_weights(small_network(), project / "net.safetensors")
    assert evaluated("--resume") == 6


def test_a_killed_run_goes_on_where_it_was(project, asked):
    """Killed at the third image; its line in the journal was cut off in the middle."""

    class KilledError(BaseException):
        pass

    asked.stop = KilledError()
    with pytest.raises(KilledError):
        call(project)
    folder = project / "results" / "trial"
    with (folder / "per_image.0.part").open("a") as journal:
        journal.write("Set_n01,c,20.1")
    asked.stop = None
    asked.clear()
    assert call(project, "--resume") == 0
    assert asked == [("Set_n01", "c"), ("Set_n05", "a"), ("Set_n05", "b"), ("Set_n05", "c")]
    assert len(read_csv(folder / "per_image.csv")) == 6
    assert not list(folder.glob("*.part"))
    # A set whose files have changed is evaluated again.
    write_8bit(project / "Set" / "Noise_01" / "a.png", np.zeros((40, 48, 3), np.uint8))
    asked.clear()
    assert call(project, "--resume") == 0
    assert [name for name, _ in asked] == ["Set_n01"] * 3


def test_suffix_and_crop_border(project):
    assert call(project, *overrides("suffix=x2", "crop_border=5", "max_images=1")) == 0
    folder = project / "results" / "trial"
    truth, restored = project / "Set" / "GT" / "a.png", folder / "Set_n01" / "a_x2.png"
    score = quality(to_8bit(read_image(truth)), to_8bit(read_image(restored)), 5).psnr
    assert float(read_csv(folder / "per_image.csv")[0]["psnr"]) == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(("truth_channels", "blurry_channels"), [(1, 1), (1, 3), (3, 1)])
def test_all_channels_are_scored_against_a_grey_truth(project, random, truth_channels, blurry_channels):
    truth = random.randint(0, 256, (40, 48, 1)).astype(np.uint8).repeat(truth_channels, 2)
    blurry = random.randint(0, 256, (40, 48, blurry_channels)).astype(np.uint8)
    for kind, image in (("GT", truth), ("LQ", blurry)):
        write_8bit(project / "Grey" / kind / "g.png", image)
    write_kernel(project / "Grey" / "KM" / "g.png", camera_shake(random, 9))
    folders = [f"datasets.test_5.dataroot_{kind}={project}/Grey/{kind}" for kind in ("GT", "LQ", "KM")]
    assert call(project, *overrides(*folders)) == 0
    restored = to_8bit(read_image(project / "results" / "trial" / "Set_n05" / "g.png"))
    assert restored.shape[2] == max(truth_channels, blurry_channels)
    row = read_csv(project / "results" / "trial" / "per_image.csv")[-1]
    error = truth.astype(float) - restored
    assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / (error**2).mean()), abs=1e-4)


def test_kernels_made_for_convolution_are_rotated(project, monkeypatch):
    """The same kernels, stored rotated and declared so, give the same images. Each folder of kernels is examined."""
    examined = []
    monkeypatch.setattr(test_script, "warn_if_rotated", lambda name, dataset: examined.append(name))
    assert call(project, *overrides("max_images=1")) == 0
    assert examined == ["Set_n01"]
    for path in (project / "Set" / "Kernel").iterdir():
        write_8bit(path, decode(path)[::-1, ::-1].reshape(9, 9, 1))
    rotated = [f"datasets.test_{n}.kernel_convention=convolution" for n in (1, 5)]
    assert call(project, *overrides(*rotated, "name=other", "max_images=1")) == 0
    for name in ("Set_n01/a.png", "Set_n05/a.png"):
        one, other = (read_image(project / "results" / run / name) for run in ("trial", "other"))
        np.testing.assert_array_equal(one, other)


def test_torchrun_with_two_processes_gives_the_table_of_one(project):
    assert call(project) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(ROOT / "codes" / "test.py"), "-opt", str(project / "options.yml")]
    command += ["--results", str(project / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]

    def without_seconds(folder):
        rows = read_csv(project / folder / "trial" / "per_image.csv")
        return [{key: value for key, value in row.items() if key not in ("seconds", "memory")} for row in rows]

    assert without_seconds("two") == without_seconds("results")
    assert len(without_seconds("two")) == 6
    assert not list((project / "two").rglob("*.part"))


@pytest.mark.parametrize("command", ["train.py", "test.py", "deblur.py"])
def test_interrupted_during_the_imports(command):
    """Ctrl-C ends the process at once, without a traceback."""
    process = subprocess.Popen([sys.executable, str(ROOT / "codes" / command)], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ""
    assert process.returncode == -signal.SIGINT


def test_interrupted_command_says_how_to_go_on(capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    assert run_command_line(interrupted, [], interrupted="interrupted; use --resume") == 130
    assert capsys.readouterr().err == "interrupted; use --resume\n"


@pytest.mark.parametrize(("trained", "count"), [(False, 5), (True, 1), pytest.param(True, 5, marks=pytest.mark.slow)])
def test_published_rows_are_measured_again(shared, tmp_path, trained, count):
    """Set5, prepared from the raw data, gives the published means of every method and each image of a trained one."""
    arguments = ["--source", str(shared / "data"), "--target", str(tmp_path / "Datasets"), "--sets", "Set5"]
    assert run_command_line(prepare_datasets.main, arguments) == 0
    if count == 1:
        for path in (tmp_path / "Datasets" / "Set5").rglob("baby.png"):
            path.unlink()  # the largest
    summary = [row for row in read_csv(PUBLISHED / "table2" / "summary.csv") if row["set"] == "Set5_n03"]
    published = {row["method"]: row for row in summary if (row["parameters"] != "0") == trained}
    assert published
    options = {"base": str(ROOT / "options" / "test" / "table2.yml"), "gpu_ids": [], "datasets": ["Set5_n03"]}
    (tmp_path / "options.yml").write_text(yaml.safe_dump(options | {"methods": [*published]}))
    sets = [f"datasets.Set5_n03.{key}={root}" for key, root in roots_of(tmp_path / "Datasets" / "Set5").items()]
    assert run("-opt", tmp_path / "options.yml", "--results", tmp_path, *overrides(*sets, f"max_images={count}")) == 0
    pairs = [(row, published[row["method"]]) for row in read_csv(tmp_path / "table2" / "summary.csv") if count == 5]
    for method in published if trained else ():
        rows = read_csv(PUBLISHED / "table2" / method / "per_image.csv")
        expected = {row["image"]: row for row in rows if row["set"] == "Set5_n03"}
        measured = read_csv(tmp_path / "table2" / method / "per_image.csv")
        pairs += [(row, expected[row["image"]]) for row in measured]
    assert len(pairs) == len(published) * (6 if trained and count == 5 else 1)
    for row, same in pairs:
        assert float(row["psnr"]) == pytest.approx(float(same["psnr"]), abs=0.01)
        assert float(row["ssim"]) == pytest.approx(float(same["ssim"]), abs=1e-3)


def test_importing_a_command_leaves_the_path_alone(monkeypatch):
    """`from codes.train import train` in a user's script keeps the folder of that script importable."""
    monkeypatch.setattr(sys, "path", ["mine", *sys.path])
    for command in ("train", "test", "deblur"):
        runpy.run_path(str(ROOT / "codes" / f"{command}.py"), run_name="imported")
        assert sys.path[0] == "mine"


def test_nothing_in_codes_imports_studies():
    """The product works without the folders of its maintainers, which the installed package does not have."""
    files = list((ROOT / "codes").rglob("*.py"))
    assert len(files) > 50
    imports = re.compile(r"^\s*(?:from|import) (?:studies|tests)\b", re.MULTILINE)
    assert not [path for path in files if imports.search(path.read_text(encoding="utf-8"))]
