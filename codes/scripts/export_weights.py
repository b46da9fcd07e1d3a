"""Turn a training into weights to share: float16 safetensors, a card and the validation curve.

    python codes/scripts/export_weights.py -opt options/train/own.yml --out Models/own

Takes the best averaged weights of experiments/<name>, scores them, rounded to float16, on all images of the
validation sets together with the option file's baselines, and writes <out>.safetensors, <out>.yml (the card: option
file, data, iterations, seed, hours, machine, scores, fraction of non-zero outputs of each U-Net), and the curve as
<out>.csv and <out>.png. --released also writes <out>.pth, which the authors' own code can load.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data.images import list_images
from codes.evaluation.run import open_method
from codes.models.factory import build_network
from codes.models.network import Network
from codes.models.paper.dsdnet import DSDNet
from codes.models.paper.released_names import as_released
from codes.models.paper.unet import UNet
from codes.models.weights import load_weights, read_notes, save_weights
from codes.options import dump_options, load_options
from codes.training.curve import draw_curve
from codes.training.monitor import CURVE_COLUMNS
from codes.training.options import TrainOptions
from codes.training.validation import Validation
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import ROOT, from_root, read_csv, write_atomic, write_csv, write_text
from codes.utils.processes import Processes
from codes.utils.yaml_files import parse_yaml, to_yaml

Curve = Sequence[Mapping[str, str]]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML) of the training")
    parser.add_argument("--set", action="append", default=[], metavar="a.b.c=value", help="override a key")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of experiments/; default: here")
    parser.add_argument("--out", type=from_root, required=True, help="path of the files, without a suffix")
    parser.add_argument("--released", action="store_true", help="also write <out>.pth with the authors' key names")
    parser.add_argument("--machine", default=machine(), help="the machine it was trained on; default: this one")
    parser.add_argument("--note", help="a sentence for the card")
    arguments = parser.parse_args(argv)
    options = load_options(TrainOptions, arguments.opt, arguments.set)
    network, iteration, curve = best_weights(options, arguments.root / "experiments" / options.name, arguments.opt)
    if arguments.released and type(network) is not DSDNet:
        raise UserError("--released: the authors' code knows only the paper's DSDNet, with none of its parts exchanged")
    network.half().float()  # scored as they are stored
    validation = Validation(options.datasets.val, None, Processes(), options.train.noise_level == "deblur")
    with unet_outputs(network) as shares:
        scores = {"network": validation.run(network, torch.device("cpu")).scores}
    for name, method in options.baselines.items():
        scores[name] = validation.run(open_method(method), torch.device("cpu")).scores
    card = describe(options, arguments, network, iteration, curve)
    card["validation_images"] = {name: len(dataset) for name, (_, dataset) in validation.sets.items()}
    card["validation"] = {
        method: {name: {"psnr": round(s.psnr, 2), "ssim": round(s.ssim, 4)} for name, s in by_set.items()}
        for method, by_set in scores.items()
    }
    if shares:
        card["nonzero_unet_outputs"] = [round(fmean(one), 3) for one in shares.values()]
    card["options"] = parse_yaml(dump_options(options), arguments.opt)

    def out(suffix: str) -> Path:
        return arguments.out.with_name(arguments.out.name + suffix)

    save_weights(network, out(".safetensors"), torch.float16, {"iteration": str(iteration)})
    if arguments.released:
        write_atomic(out(".pth"), lambda temporary: torch.save(as_released(network.state_dict()), temporary))
    write_text(out(".yml"), to_yaml(card))
    write_csv(out(".csv"), curve, CURVE_COLUMNS)
    draw_curve(curve, out(".png"), options.train.val_images)
    print(to_yaml(card))
    return 0


def best_weights(options: TrainOptions, experiment: Path, option_file: str) -> tuple[Network, int, Curve]:
    """The network with the best weights of a training, their iteration, and the validation curve.

    Raises UserError if the training has no best weights, or its curve does not have their iteration.
    """
    if not options.datasets.val:
        raise UserError(f"{option_file}: datasets.val: a validation set is needed to score the weights on")
    best = experiment / "models" / "best.safetensors"
    if not best.is_file():
        why = "; it was trained without validation sets" if best.with_name("last.safetensors").is_file() else ""
        raise UserError(f"{best}: no such weight file{why or f'; train {option_file} first'}")
    iteration = read_notes(best).get("iteration")
    if iteration is None or not iteration.isdecimal():
        raise UserError(f"{best}: has no note of its iteration, so train.py did not write it")
    curve = read_csv(experiment / "validation.csv")
    if all(row.get("iteration") != iteration for row in curve):
        raise UserError(f"{experiment / 'validation.csv'}: has no line of iteration {iteration}, the best one's")
    network = build_network(options.network_G)
    load_weights(network, best)
    return network, int(iteration), curve


@contextmanager
def unet_outputs(network: Network) -> Iterator[Mapping[nn.Module, list[float]]]:
    """Record the fraction of non-zero outputs of each U-Net, in the order of the stages, for every image restored.

    A U-Net ends in a ReLU, which can die in training; then its stage changes nothing.
    """
    shares: dict[nn.Module, list[float]] = {unet: [] for unet in network.modules() if isinstance(unet, UNet)}

    def record(module: nn.Module, _: object, output: torch.Tensor) -> None:
        if module in shares:
            shares[module].append((output != 0).float().mean().item())

    with register_module_forward_hook(record):
        yield shares


def describe(
    options: TrainOptions, arguments: argparse.Namespace, network: Network, iteration: int, curve: Curve
) -> dict[str, Any]:
    """The card's entries on the training."""
    train_set, decay = options.datasets.train, options.train.ema_decay
    averaged = f"their exponential moving average with decay {decay}" if decay else "the weights themselves"
    hours = max(float(row["hours"]) for row in curve if int(row["iteration"]) == iteration)
    return {
        "option_file": Path(arguments.opt).name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "stored_as": f"float16, {averaged}",
        "training_images": f"{len(list_images(from_root(train_set.dataroot_GT)))} of {train_set.name}",
        "iterations": iteration,
        "seed": options.train.manual_seed,
        "wall_clock_hours": round(hours, 2),
        "machine": arguments.machine,
        "torch": str(torch.__version__),
        **({"note": arguments.note} if arguments.note else {}),
    }


def machine() -> str:
    """The model of this machine's GPU, or the number and kind of its processors."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}"


if __name__ == "__main__":
    sys.exit(run_command_line(main))
