"""Optimiser and learning rate, under MMSR's names."""

import math
from bisect import bisect_right
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from codes.training.options import Recipe
from codes.utils.errors import UserError


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over all weights of the network, one parameter group for each factor of `lr_scale`.

    Raises UserError if a pattern of `lr_scale` matches no weight.
    """
    named = dict(network.named_parameters())
    for pattern in recipe.lr_scale:
        if not any(fnmatchcase(name, pattern) for name in named):
            example = next(iter(named))
            raise UserError(f"train.lr_scale: '{pattern}' matches no weight; their names are like '{example}'")
    groups: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named.items():
        scale = next((scale for pattern, scale in recipe.lr_scale.items() if fnmatchcase(name, pattern)), 1.0)
        groups.setdefault(scale, []).append((name, parameter))
    return torch.optim.AdamW(
        [{"params": parameters, "lr": scale * recipe.lr_G} for scale, parameters in groups.items()],
        recipe.lr_G,
        betas=(recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay_G,
        fused=True,  # one pass over the weights, which saves up to a fifth of a small batch's step on a CPU
    )


def build_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe) -> LambdaLR:
    """The schedule as a function of the iteration alone, so that resuming needs only its number."""
    return LambdaLR(optimizer, lambda iteration: rate_factor(iteration, recipe))


def rate_factor(iteration: int, recipe: Recipe) -> float:
    """The learning rate of an iteration (counted from 0) as a fraction of lr_G.

    At each of `restarts` the schedule starts again, from that restart's weight.
    """
    warmup = min(1.0, (iteration + 1) / recipe.warmup_iter) if recipe.warmup_iter else 1.0
    period = bisect_right(recipe.restarts, iteration)
    begin, weight = [0, *recipe.restarts][period], [1.0, *recipe.restart_weights][period]
    if recipe.lr_scheme == "MultiStepLR":
        return warmup * weight * recipe.lr_gamma ** sum(begin < step <= iteration for step in recipe.lr_steps)
    floor = recipe.eta_min / recipe.lr_G
    progress = min(1.0, (iteration - begin) / recipe.T_period[period])
    return warmup * (floor + (weight - floor) * (1 + math.cos(math.pi * progress)) / 2)
