"""The cost of a network: parameters, operations of its convolutions, seconds per image."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

SIDE = 256
KERNEL = 25
RUNS = 3


@dataclass(frozen=True)
class Complexity:
    """Number of parameters, 10^9 operations of the convolutions (gflop), and seconds.

    gflop and seconds are for one image of 256x256 pixels and a kernel of 25x25. A multiplication and an addition are
    two operations.
    """

    parameters: int
    gflop: float
    seconds: float


def complexity(network: nn.Module) -> Complexity:
    """Measure a network in eval mode on its device. seconds is the median of three runs."""
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
    """Operations of all convolutions of one restoration, without the Fourier transforms."""
    with FlopCounterMode(display=False) as counter:
        network(image, kernel)
    return counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0)


# The parts of a DSDNet that are modules, by patterns of the modules' names.
PARTS = {
    "initialisation": r"initialisation",
    "Maxout": r"shrink_[vz]\.\d+",
    "HypNet": r"solver\.m_[pd]\.\d+",
    "NLNet": r"solver\.m_n\.\d+",
    "U-Net": r"solver\.(unet\.\d+|denoiser)",
}


@torch.no_grad()
def flop_by_part(network: nn.Module, image: Tensor, kernel: Tensor) -> dict[str, float]:
    """Operations of one restoration by a DSDNet, for each of its parts.

    These are the convolutions, with two operations for a multiplication and an addition, and the Fourier
    transforms, with 2.5 n log2 n for a real transform of n values. Only shapes are followed; nothing is computed.
    """
    transforms = {torch.ops.aten._fft_r2c: _fft, torch.ops.aten._fft_c2r: _fft}
    counter = FlopCounterMode(display=False, custom_mapping=transforms)
    with FakeTensorMode(allow_non_fake_inputs=True) as shapes, counter:
        network(shapes.from_tensor(image), shapes.from_tensor(kernel))
    counts = {name: _by_kind(flop) for name, flop in counter.get_flop_counts().items()}
    names = {name: name.partition(".")[2] for name in counts}
    parts = {
        part: float(sum(sum(counts[name]) for name, inner in names.items() if re.fullmatch(pattern, inner)))
        for part, pattern in PARTS.items()
    }
    convolutions, transforms = counts["Global"]
    modules = sum(parts.values()) - parts["initialisation"]
    return {**parts, "filters": convolutions - modules, "blur": transforms - parts["initialisation"]}


def _by_kind(flop: dict) -> tuple[float, float]:
    """Operations of the convolutions and of the Fourier transforms."""
    transforms = sum(count for operation, count in flop.items() if "_fft" in str(operation))
    return sum(flop.values()) - transforms, transforms


def _fft(
    image: Sequence[int], dim: Sequence[int], *arguments: object, out_shape: Sequence[int], **names: object
) -> int:
    # The real side of the transform is the one with more values.
    real = max(image, out_shape, key=math.prod)
    size = math.prod(real[d] for d in dim)
    return round(2.5 * math.prod(real) * math.log2(max(size, 2)))


@torch.inference_mode()
def seconds_to_restore(network: nn.Module, image: Tensor, kernel: Tensor) -> float:
    """Median wall-clock seconds of RUNS restorations, after one to warm up."""
    seconds = []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        network(image, kernel)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])
