"""Turn a training into weights to ship: float16 safetensors, a card and the validation curve.

    python codes/scripts/export_weights.py -opt options/train/own.yml --out Models/own

Takes the best averaged weights of experiments/<name>, scores them, as stored, on all images of
the validation sets beside the option file's baselines, and writes <out>.safetensors, <out>.yml
(option file, data, steps, seed, wall-clock, machine, the trainings before it, scores), <out>.csv and
<out>.png (the curve).
With --blend FILE the weights written are a mean of the best ones and of those in FILE, which the training went
on from: what was learned of other images then costs less of what was known (Wortsman et al., CVPR 2022).
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import list_images
from codes.figures import training
from codes.models.factory import build_network, load_pretrained
from codes.models.weights import load_weights, read_notes, save_weights
from codes.options import dump_options, load_options
from codes.training.lineage import trainings_before
from codes.training.monitor import CURVE_COLUMNS
from codes.training.options import TrainOptions
from codes.training.validation import Scores, Validation
from codes.utils.arguments import fraction
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, from_root, read_csv, write_csv, write_text
from codes.utils.processes import Processes
from codes.utils.yaml_files import parse_yaml, to_yaml


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML) of the training")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--root", type=Path, default=ROOT, help="where experiments/ lies; default: here")
    parser.add_argument("--out", type=from_root, required=True, help="path of the four files, without a suffix")
    parser.add_argument("--machine", default=machine(), help="the machine it was trained on; default: this one")
    parser.add_argument("--blend", type=from_root, metavar="FILE", help="weights to blend the best ones with")
    parser.add_argument("--share", type=fraction, help="of the best ones in the blend; default: 0.5")
    parser.add_argument("--note", help="what the option file does not tell of the training")
    arguments = parser.parse_args(argv)
    options = load_options(TrainOptions, arguments.opt, arguments.set)
    experiment = arguments.root / "experiments" / options.name
    if arguments.share and not arguments.blend:
        raise UserError("--share: there is nothing to share with; name a file with --blend, too")
    if not options.datasets.val:
        raise UserError(f"{arguments.opt}: datasets.val: a validation set is needed to score the weights on")
    best = experiment / "models" / "best.safetensors"
    if not best.is_file():
        why = "; it was trained without validation sets" if best.with_name("last.safetensors").is_file() else ""
        raise UserError(f"{best}: no such weight file{why or f'; train {arguments.opt} first'}")
    iteration = read_notes(best).get("iteration")
    if iteration is None or not iteration.isdecimal():
        raise UserError(f"{best}: does not say of which iteration it is; train.py did not write it")
    before = trainings_before(experiment)
    curve = read_csv(experiment / "validation.csv")
    if all(row.get("iteration") != iteration for row in curve):
        raise UserError(f"{experiment / 'validation.csv'}: has no line of iteration {iteration}, the best one's")
    network = build_network(options.network_G)
    load_weights(network, best)
    notes = {"iteration": iteration}
    if arguments.blend:
        share = arguments.share or 0.5
        blend(network, arguments.blend, share)
        notes["blend"] = f"{share:g} of these weights, the rest {named(arguments.blend)}"
    suffixes = (".safetensors", ".yml", ".csv", ".png")
    weights, card, table, plot = (arguments.out.with_name(arguments.out.name + suffix) for suffix in suffixes)
    network.half().float()  # as they will be stored
    validation = Validation(options.datasets.val, None, Processes())
    scores = {"network": validation.run(network, torch.device("cpu")).scores}
    for name, method in options.baselines.items():
        baseline = build_network(method.network_G)
        load_pretrained(baseline, method.path.pretrain_model_G, method.path.strict_load)
        scores[name] = validation.run(baseline, torch.device("cpu")).scores
    save_weights(network, weights, torch.float16, notes)
    write_text(card, to_yaml(describe(options, arguments, network, curve, notes, before, validation, scores)))
    write_csv(table, curve, CURVE_COLUMNS)
    training.draw(curve, plot, options.train.val_images)
    print(card.read_text(encoding="utf-8"))
    return 0


def blend(network: nn.Module, path: Path, share: float) -> None:
    """Make the weights `share` of the network's own and the rest those of `path`. Raises UserError as load_weights."""
    own = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    load_weights(network, path)
    network.load_state_dict({key: other.lerp(own[key], share) for key, other in network.state_dict().items()})


def named(weights: Path) -> str:
    """A weight file by its path below the project, where it lies there, and its iteration, where it knows that."""
    path = weights.relative_to(ROOT) if weights.is_relative_to(ROOT) else weights
    iteration = read_notes(weights).get("iteration") if weights.suffix == ".safetensors" else None
    return str(path) + (f" (iteration {iteration})" if iteration else "")


def describe(
    options: TrainOptions,
    arguments: argparse.Namespace,
    network: nn.Module,
    curve: Sequence[Mapping[str, str]],
    notes: Mapping[str, str],
    before: Sequence[Mapping[str, Any]],
    validation: Validation,
    scores: Mapping[str, Mapping[str, Scores]],
) -> dict[str, Any]:
    """The card's content."""
    train_set = options.datasets.train
    iteration = int(notes["iteration"])
    averaged = f"their exponential moving average with decay {options.train.ema_decay}"
    hours = max(float(row["hours"]) for row in curve if int(row["iteration"]) == iteration)
    return {
        "option_file": Path(arguments.opt).name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "stored_as": "float16, " + (averaged if options.train.ema_decay else "the weights themselves"),
        "training_images": f"{len(list_images(from_root(train_set.dataroot_GT)))} of {train_set.name}",
        "iterations": iteration,
        "seed": options.train.manual_seed,
        "wall_clock_hours": round(hours, 2),
        "machine": arguments.machine,
        "torch": str(torch.__version__),
        **({"blend": notes["blend"]} if "blend" in notes else {}),
        **({"begun_with": before} if before else {}),
        **({"note": arguments.note} if arguments.note else {}),
        "validation_images": {name: len(dataset) for name, (_, dataset) in validation.sets.items()},
        "validation": {
            method: {name: {"psnr": round(s.psnr, 2), "ssim": round(s.ssim, 4)} for name, s in of.items()}
            for method, of in scores.items()
        },
        "options": parse_yaml(dump_options(options), arguments.opt),
    }


def machine() -> str:
    """Kind of this machine's processors, or of its GPU."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}"


if __name__ == "__main__":
    sys.exit(run_command_line(main))
