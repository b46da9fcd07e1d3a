"""What a network costs: parameters, operations of its convolutions, seconds an image."""

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

SIDE = 256
KERNEL = 25
RUNS = 3


@dataclass(frozen=True)
class Complexity:
    """parameters; gflop: of the convolutions, a multiplication and an addition being two; seconds.

    The last two for one image of 256x256 pixels and a kernel of 25x25.
    """

    parameters: int
    gflop: float
    seconds: float


def complexity(network: nn.Module) -> Complexity:
    """Measure a network in eval mode on its device; seconds are a median of three runs."""
    parameters = list(network.parameters())
    image = torch.rand(1, 3, SIDE, SIDE, device=parameters[0].device)
    kernel = torch.full((1, KERNEL, KERNEL), 1 / KERNEL**2, device=image.device)
    return Complexity(
        sum(parameter.numel() for parameter in parameters),
        convolution_flop(network, image, kernel) / 1e9,
        seconds_to_restore(network, image, kernel),
    )


@torch.no_grad()
def convolution_flop(network: nn.Module, image: Tensor, kernel: Tensor) -> int:
    """Operations of all convolutions of one restoration; Fourier transforms are not among them."""
    with FlopCounterMode(display=False) as counter:
        network(image, kernel)
    return counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0)


@torch.inference_mode()
def seconds_to_restore(network: nn.Module, image: Tensor, kernel: Tensor) -> float:
    """Median wall-clock time; `network` has run before, or the first run is among the slow ones."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        network(image, kernel)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        seconds.append(time.perf_counter() - start)
    return median(seconds)
