"""Measure PSNR and SSIM against noise, errors of the kernel, and the content beyond the image border.

    python codes/scripts/measure_robustness.py
    python codes/scripts/measure_robustness.py --quick

Writes results/robustness/robustness.csv and fig/robustness.png. If it is interrupted, the same command continues; a
method whose options, weights or images have changed is measured again. --quick: two images, few values, everything
goes to results/quick/robustness/.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.figures import robustness as figure
from codes.metrics.robustness import COLUMNS, Point, RobustnessOptions, Scene, read_scenes, row, score, trial
from codes.metrics.run import COMPLETE, is_missing
from codes.models.factory import build_network, load_pretrained
from codes.models.restorer import Restorer
from codes.options import Method, dump_options, load_options
from codes.utils.devices import choose_device
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, from_root, read_csv, write_csv, write_text
from codes.utils.processes import Processes
from codes.utils.yaml_files import read_yaml, to_yaml

OPTIONS = ROOT / "options" / "robustness.yml"
QUICK = ("images=2", "noise=[5]", "kernel_shift=[1]", "kernel_scale=[-10, 10]", "kernel_noise=[5]")

Rows = dict[tuple[str, Point], dict[str, str]]  # rows of robustness.csv by method and point


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", type=Path, default=OPTIONS, metavar="FILE", help="default: options/robustness.yml")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--quick", action="store_true", help="two images, few values")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--target", type=Path, default=ROOT / "fig", help="folder of the figure, default: fig")
    arguments = parser.parse_args(argv)
    options = load_options(RobustnessOptions, arguments.opt, [*(QUICK if arguments.quick else ()), *arguments.set])
    folder = arguments.results / ("quick" if arguments.quick else "") / options.name
    rows = measure(options, folder)
    target = folder if arguments.quick else arguments.target
    figure.draw(rows, target / "robustness.png")
    print(f"{folder / 'robustness.csv'}: {len(rows)} rows; {target / 'robustness.png'}: drawn")
    return 0


def measure(options: RobustnessOptions, folder: Path) -> list[dict[str, str]]:
    """The rows of robustness.csv: every method at every point. Rows that `folder` already holds are kept.

    COMPLETE is written at the end: its presence marks a complete table.
    """
    scenes, points = read_scenes(options), options.points()
    restorers = open_methods(options)
    identities = {name: identity(options.methods[name], scenes) for name in restorers}
    wanted = [(name, point) for name in restorers for point in points]
    before = earlier_rows(folder, identities)
    rows = {key: before[key] for key in wanted if key in before}
    (folder / COMPLETE).unlink(missing_ok=True)
    write_text(folder / "methods.yml", to_yaml(identities))
    with tqdm(total=(len(wanted) - len(rows)) * len(scenes), unit=" images") as bar:
        for point in points:
            missing = [name for name in restorers if (name, point) not in rows]
            trials = [trial(scene, point) for scene in scenes] if missing else []
            for name in missing:
                bar.set_description(f"{point.experiment} {point.value}")
                scores = []
                for scene, given in zip(scenes, trials, strict=True):
                    try:
                        scores.append(score(restorers[name], given))
                    except UserError as error:
                        raise UserError(f"{name}: {point.experiment} {point.value}: {scene.name}: {error}") from None
                    bar.update()
                rows[name, point] = row(name, options.methods[name].label or name, point, scores)
                write_csv(folder / "robustness.csv", [rows[key] for key in wanted if key in rows], COLUMNS)
    table = [rows[key] for key in wanted]
    write_csv(folder / "robustness.csv", table, COLUMNS)
    write_text(folder / COMPLETE, dump_options(options))
    return table


def open_methods(options: RobustnessOptions) -> dict[str, Restorer]:
    """The methods with their weights. A method whose weight file is missing is skipped with a warning."""
    device = choose_device(options.gpu_ids)
    restorers = {}
    for name, method in options.methods.items():
        if not is_missing(name, method, Processes()):
            network = build_network(method.network_G)
            load_pretrained(network, method.path.pretrain_model_G, method.path.strict_load)
            restorers[name] = Restorer(network, device)
    if not restorers:
        raise UserError("no method is left to measure")
    return restorers


def identity(method: Method, scenes: Sequence[Scene]) -> str:
    """A hash of everything that a method's rows depend on: its options and weights, the images and kernels."""
    path = method.path.pretrain_model_G
    parts = [dump_options(method).encode(), from_root(path).read_bytes() if path else b""]
    parts += [array.tobytes() for scene in scenes for array in (scene.sharp, scene.kernel)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def earlier_rows(folder: Path, identities: dict[str, str]) -> Rows:
    """The rows that an earlier run with the same methods left in `folder`."""
    table, marker = folder / "robustness.csv", folder / "methods.yml"
    if not table.is_file() or not marker.is_file():
        return {}
    before = read_yaml(marker)
    same = {name for name, value in identities.items() if before.get(name) == value}
    rows = [row for row in read_csv(table) if row["method"] in same]
    return {(row["method"], Point(row["experiment"], row["value"])): row for row in rows}


if __name__ == "__main__":
    sys.exit(run_command_line(main))
