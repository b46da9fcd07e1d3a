"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class Average:
    """A copy of the network whose weights follow the trained ones.

    Early on the decay is smaller than `decay`, so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, iteration: int) -> None:
        """Take in the weights after `iteration` steps."""
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        own, new = list(self.network.parameters()), [p.detach() for p in network.parameters()]
        torch._foreach_lerp_(own, new, 1 - decay)
