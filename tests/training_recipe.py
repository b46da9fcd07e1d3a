"""A training of seconds on two small images, for the tests of training."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from skimage import data as skimage_data

from codes.data.kernel_generator import camera_shake
from codes.data.preparation import Sharp, synthesise
from codes.training.options import TrainOptions


def sharp_images(folder: Path) -> Path:
    """A folder laid out as the test sets: two images of 64x72, kernels of 7 and 9 pixels."""
    random = np.random.RandomState(0)
    photograph = skimage_data.astronaut()
    sharp = [
        Sharp("a", photograph[100:164, 200:272], camera_shake(random, 7)),
        Sharp("b", photograph[40:104, 180:252], camera_shake(random, 9)),
    ]
    synthesise(folder, sharp)
    return folder


def recipe(data: Path, **overrides: Any) -> dict[str, Any]:
    """An option file's content; overrides by dotted key, with two underscores for each dot."""
    train_set = {
        "name": "two",
        "dataroot_GT": str(data / "GT"),
        "GT_size": 24,
        "batch_size": 2,
        "n_workers": 1,
        "kernel_size": 9,
        "kernel_size_min": 5,
    }
    folders = {"dataroot_GT": "GT", "dataroot_LQ": "Noise_03", "dataroot_KM": "Kernel"}
    validation_set = {"name": "n03"} | {key: str(data / folder) for key, folder in folders.items()}
    content = {
        "name": "test",
        "gpu_ids": [],
        "use_tb_logger": False,
        "datasets": {"train": train_set, "val": {"n03": validation_set}},
        "network_G": {"which_model_G": "DSDNet", "nf_p": 4, "nf_d": 4, "nb": 2, "nf_n": 4, "dp": 0.2},
        "train": {
            "manual_seed": 3,
            "niter": 9,
            "lr_G": 1e-3,
            "warmup_iter": 2,
            "fft_weight": 0.01,
            "reblur_weight": 0.1,
            "grad_clip": 1.0,
            "ema_decay": 0.9,
            "val_freq": 5,
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2},
    }
    for key, value in overrides.items():
        *groups, last = key.split("__")
        target = content
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value
    return content


def options(data: Path, **overrides: Any) -> TrainOptions:
    """The same, validated."""
    return TrainOptions.model_validate(recipe(data, **overrides))


def write(path: Path, data: Path, **overrides: Any) -> Path:
    """The same as an option file."""
    path.write_text(yaml.safe_dump(recipe(data, **overrides)), encoding="utf-8")
    return path
