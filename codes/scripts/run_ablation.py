"""Train the variants of options/ablation/ablation.yml one after the other and compare them.

    python codes/scripts/run_ablation.py
    python codes/scripts/run_ablation.py --quick
    python codes/scripts/run_ablation.py --only cg fft
    torchrun --nproc_per_node 2 codes/scripts/run_ablation.py

Writes results/ablation/: ablation.csv and table.md after every variant, and the trainings under experiments/. If it is
interrupted, the same command continues from the last checkpoint. --quick takes minutes, needs no data and writes to
results/ablation_quick.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.metrics.complexity import Complexity, complexity
from codes.models.factory import build_network
from codes.options import dump_options, load_options
from codes.train import train
from codes.training.ablation import OPTION_FILE, AblationOptions, final_psnr, markdown_table, table_row
from codes.training.options import TrainOptions
from codes.utils.devices import choose_device
from codes.utils.errors import UserError, nearest, run_command_line
from codes.utils.files import ROOT, write_csv, write_text
from codes.utils.processes import processes


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", type=Path, default=OPTION_FILE, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few images, to check that it runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train these variants only")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b.c=value", help="override a key of every variant's training"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: results")
    arguments = parser.parse_args(argv)
    options = load_options(AblationOptions, arguments.opt)
    folder = arguments.results / (options.name + ("_quick" if arguments.quick else ""))
    for name in arguments.only or ():
        if name not in options.variants:
            raise UserError(f"--only: unknown variant '{name}'; {nearest(name, options.variants)}")
    recipes = {
        name: [options.recipe(name, seed, arguments.quick, arguments.set) for seed in options.seeds]
        for name in options.variants
    }
    for name, of_variant in recipes.items():
        options.of_poster(name)
        if not of_variant[0].datasets.val:
            raise UserError(f"{options.base}: datasets.val: at least one set is needed to compare the variants")
    return run(options, recipes, arguments.only or list(recipes), folder)


def run(options: AblationOptions, recipes: dict[str, list[TrainOptions]], chosen: Sequence[str], folder: Path) -> int:
    """Do the trainings of the chosen variants and write the table after each variant.

    Returns the exit status, which is not 0 if a signal ended a training.
    """
    costs: dict[str, Complexity] = {}
    with processes(devices=True) as group:
        for name in chosen:
            for recipe in recipes[name]:
                if not is_finished(recipe, folder / "experiments" / recipe.name):
                    status = train(recipe, folder, group)
                    if status:
                        return status
            if group.is_main:
                write_table(options, recipes, folder, costs)
    if group.is_main:
        print((folder / "table.md").read_text(encoding="utf-8"))
        print(f"Results: {folder}")
    return 0


def is_finished(recipe: TrainOptions, experiment: Path) -> bool:
    """True if a training with exactly these options has reached its end."""
    file = experiment / "options.yml"
    same = file.is_file() and file.read_text(encoding="utf-8") == dump_options(recipe)
    return same and final_psnr(recipe, experiment) is not None


def write_table(
    options: AblationOptions, recipes: dict[str, list[TrainOptions]], folder: Path, costs: dict[str, Complexity]
) -> None:
    """Write ablation.csv and table.md with all variants whose trainings are finished; `costs` caches what they cost."""
    rows = []
    for name, of_variant in recipes.items():
        scores = [final_psnr(recipe, folder / "experiments" / recipe.name) for recipe in of_variant]
        if None in scores:
            continue
        if name not in costs:
            first = of_variant[0]
            costs[name] = complexity(build_network(first.network_G).to(choose_device(first.gpu_ids)))
        rows.append(table_row(options, name, of_variant[0].train.niter, scores, costs[name]))
    write_csv(folder / "ablation.csv", rows, list(rows[0]))
    write_text(folder / "table.md", f"# {folder.name}\n\n{markdown_table(rows)}")


if __name__ == "__main__":
    sys.exit(run_command_line(main))
