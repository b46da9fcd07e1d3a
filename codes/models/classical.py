"""Classical methods as networks without weights, so that tables can compare them.

`net(blurry, kernel, sigma=None)`: (B, C, H, W), (B, h, w) or (B, C, h, w) -> (B, C, H, W). Their parameters are tables
{standard deviation of the noise: value} in the option file, tuned on training images.
"""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from skimage import restoration
from torch import Tensor, nn

from codes.models.network import Network
from codes.models.noise import estimate_noise
from codes.models.paper.blur import by_channel, odd_sized, transfer_function
from codes.models.paper.initialisation import INITIALISATIONS, crop, extend, gradient_power
from codes.models.registry import NetworkOptions, register_network

Positive = Annotated[float, Field(gt=0)]
NoiseTable = Annotated[dict[Positive, Positive], Field(min_length=1)]


class ClassicalMethod(Network):
    """Base class of the methods without weights. They use the true noise level if it is known, else an estimate."""

    in_nc = None
    takes_sigma = uses_true_sigma = True
    needs_weights = False


@register_network("Blurry")
class Blurry(ClassicalMethod):
    """The blurry input: the baseline to improve on."""

    def forward(self, blurry: Tensor, kernel: Tensor, sigma: Tensor | None = None) -> Tensor:
        return blurry


class InitialOptions(NetworkOptions):
    """Keys of `network_G` for Initial."""

    which_model_G: Literal["Initial"] = "Initial"
    init: str = Field("paper", description="Kind of x0: a name in INITIALISATIONS.")


@register_network("Initial", InitialOptions)
class Initial(ClassicalMethod):
    """x0, the start of the iteration. init: a name in INITIALISATIONS. Raises UserError for an unknown name."""

    def __init__(self, init: str = "paper"):
        super().__init__()
        self.initialisation = INITIALISATIONS[init]()

    def forward(self, blurry: Tensor, kernel: Tensor, sigma: Tensor | None = None) -> Tensor:
        return self.initialisation(blurry, odd_sized(kernel))


class WienerOptions(NetworkOptions):
    """Keys of `network_G` for Wiener."""

    which_model_G: Literal["Wiener"] = "Wiener"
    balance: NoiseTable = Field(description="Weight of the energy of the image's Laplacian, for each noise level.")


@register_network("Wiener", WienerOptions)
class Wiener(ClassicalMethod):
    """The Wiener-Hunt filter of scikit-image on the extended image with tapered edges."""

    def __init__(self, balance: dict[float, float]):
        super().__init__()
        self.balance = balance

    def forward(self, blurry: Tensor, kernel: Tensor, sigma: Tensor | None = None) -> Tensor:
        balance = at_noise_level(self.balance, mean_noise(blurry, sigma))
        kernel = odd_sized(kernel)

        def restore(channel: np.ndarray, psf: np.ndarray) -> np.ndarray:
            return restoration.wiener(channel, psf, balance, clip=False)

        return crop(_each_channel(restore, extend(blurry, kernel), kernel), kernel)


class RichardsonLucyOptions(NetworkOptions):
    """Keys of `network_G` for RichardsonLucy."""

    which_model_G: Literal["RichardsonLucy"] = "RichardsonLucy"
    iterations: NoiseTable = Field(description="Number of iterations, for each noise level; rounded.")


@register_network("RichardsonLucy", RichardsonLucyOptions)
class RichardsonLucy(ClassicalMethod):
    """The Richardson-Lucy algorithm of scikit-image on the image extended by the size of the kernel.

    It assumes zeros outside the image, which causes ringing; the extension with the ringing is cut off.
    """

    def __init__(self, iterations: dict[float, float]):
        super().__init__()
        self.iterations = iterations

    def forward(self, blurry: Tensor, kernel: Tensor, sigma: Tensor | None = None) -> Tensor:
        iterations = max(1, round(at_noise_level(self.iterations, mean_noise(blurry, sigma))))
        height, width = kernel.shape[-2:]
        extended = nn.functional.pad(blurry, (width, width, height, height), mode="replicate")

        def restore(channel: np.ndarray, psf: np.ndarray) -> np.ndarray:
            return restoration.richardson_lucy(channel, psf, iterations, clip=False, filter_epsilon=1e-6)

        restored = _each_channel(restore, extended.clamp(min=1e-6), odd_sized(kernel))
        return restored[..., height : height + blurry.shape[-2], width : width + blurry.shape[-1]]


class HyperLaplacianOptions(NetworkOptions):
    """Keys of `network_G` for HyperLaplacian."""

    which_model_G: Literal["HyperLaplacian"] = "HyperLaplacian"
    data_weight: NoiseTable = Field(description="Weight lambda of the data term, for each noise level.")
    exponent: float = Field(2 / 3, gt=0, le=1, description="Exponent p of the gradients in the prior.")


@register_network("HyperLaplacian", HyperLaplacianOptions)
class HyperLaplacian(ClassicalMethod):
    """Minimises lambda/2 |Hx - y|^2 + sum |grad x|^p by half-quadratic splitting.

    This is the method of Krishnan and Fergus (NIPS 2009) with beta = 2^0, 2^1.5, ... 2^7.5 = 181. The shrinkage
    function is computed by the fixed-point iteration of Zuo et al. (ICCV 2013).
    """

    betas = tuple(2.0**exponent for exponent in np.arange(0, 8.1, 1.5))

    def __init__(self, data_weight: dict[float, float], exponent: float = 2 / 3):
        super().__init__()
        self.data_weight, self.exponent = data_weight, exponent

    def forward(self, blurry: Tensor, kernel: Tensor, sigma: Tensor | None = None) -> Tensor:
        weight = at_noise_level(self.data_weight, mean_noise(blurry, sigma))
        kernel = odd_sized(kernel)
        x = extend(blurry, kernel)
        size = x.shape[-2:]
        K = transfer_function(by_channel(kernel), size)
        data_part = K.conj() * torch.fft.rfft2(x) * weight
        data_power = K.abs().square() * weight
        prior_power = gradient_power(size, x.device, x.dtype)
        for beta in self.betas:
            divergence = torch.zeros_like(x)
            for dim in (-2, -1):
                w = shrink(x.roll(-1, dim) - x, 1 / beta, self.exponent)
                divergence += w.roll(1, dim) - w
            x = torch.fft.irfft2(
                (data_part + beta * torch.fft.rfft2(divergence)) / (data_power + beta * prior_power), s=size
            )
        return crop(x, kernel)


def shrink(v: Tensor, weight: float, p: float, iterations: int = 4) -> Tensor:
    """argmin_w |w|^p * weight + (w - v)^2 / 2, elementwise."""
    threshold = (2 * weight * (1 - p)) ** (1 / (2 - p))
    threshold += weight * p * (2 * weight * (1 - p)) ** ((p - 1) / (2 - p)) if p < 1 else weight
    size = v.abs()
    w = size.clone()
    for _ in range(iterations):
        w = (size - weight * p * w.clamp(min=1e-12) ** (p - 1)).clamp(min=0)
    return torch.where(size > threshold, w, 0) * v.sign()


def _each_channel(restore, image: Tensor, kernel: Tensor) -> Tensor:
    """Apply a numpy method to each channel. The method gets the kernel rotated, as that of a convolution."""
    psfs = by_channel(kernel).flip(-2, -1).expand(*image.shape[:2], -1, -1).flatten(0, 1).cpu().numpy()
    channels = image.flatten(0, 1).cpu().numpy()
    with ThreadPoolExecutor() as pool:  # Threads help: the transforms of scipy release the lock.
        restored = list(pool.map(restore, channels, psfs))
    return torch.from_numpy(np.array(restored)).to(image).unflatten(0, image.shape[:2])


def at_noise_level(table: Mapping[float, float], sigma: float) -> float:
    """A parameter given at some noise levels, interpolated to `sigma` (log-log; constant outside the table)."""
    levels = sorted(table)
    logs = np.log([table[level] for level in levels])
    return math.exp(np.interp(math.log(max(sigma, 1e-6)), np.log(levels), logs))


def mean_noise(image: Tensor, sigma: Tensor | None) -> float:
    """The mean of `sigma` (B,) if it is known, else of the estimates for the images (B, C, H, W)."""
    return float((estimate_noise(image) if sigma is None else sigma).mean())
