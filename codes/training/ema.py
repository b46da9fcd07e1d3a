"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class Average:
    """A copy of the network whose weights are an average of the trained ones.

    Buffers, such as the running statistics of BatchNorm, are copied: they are averages already. At first the decay is
    smaller than `decay`, so that the random start is soon forgotten. With a decay of 0 the copy equals the network,
    and is updated only when it is asked for.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self._trained = decay, network
        self._network = copy.deepcopy(network).eval().requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The copy, in eval mode."""
        if not self.decay:
            self._follow(0.0)
        return self._network

    def update(self, iteration: int) -> None:
        """Add the weights after `iteration` steps to the average."""
        if self.decay:
            self._follow(min(self.decay, (1 + iteration) / (10 + iteration)))

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        own, new = list(self._network.parameters()), [p.detach() for p in self._trained.parameters()]
        torch._foreach_lerp_(own, new, 1 - decay)
        for buffer, trained in zip(self._network.buffers(), self._trained.buffers(), strict=True):
            buffer.copy_(trained)
