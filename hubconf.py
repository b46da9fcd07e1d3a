"""torch.hub entry points, and the shortest way to a network from Python.

    import torch
    net = torch.hub.load("path/to/this/repository", "dsdnet_tiny", source="local", pretrained=True)
    restored = net(blurry, kernel)              # (B, 3, H, W) in [0, 1], (B, h, w) summing to 1
    sharp = torch.hub.load("path/to/this/repository", "deblur", image, kernel, source="local")  # numpy

Each function except `deblur` returns an nn.Module in eval mode: `net(blurry, kernel, mask=None)` gives the
restored images (B, 3, H, W), float32, not clamped; with `stages=True` the list of the images of all stages;
`net.initial(blurry, kernel)` gives x0. blurry: (B, 3, H, W) in [0, 1], any size from 1 x 1 on. kernel:
(B, h, w), or (B, 3, h, w) for one kernel per channel, with sum 1, applied as a cross-correlation, not larger
than the image. mask: (B, 1, H, W), 1 at valid pixels, 0 at those to leave out. dsdnet_tiny also accepts `sigma=`,
(B,): the standard deviation of the noise, if it is known.

`weights`: None (random), a .pth or .safetensors file, or a dictionary of tensors, under the
authors' key names or ours. Config keys: in_nc, out_nc, nf_p (N), nf_d (M), max_nc, n_iter (T),
padding_mode (replicate, circular, zero), dropout_rate; for exchanged parts nf_n, init, shrinkage, shrinkage_z, solver.
"""

from collections.abc import Mapping
from os import PathLike

import numpy as np
from torch import Tensor, nn

import codes.models.all_networks as _networks  # noqa: F401  registers networks and presets
from codes.models.factory import build_preset as _build_preset
from codes.models.registry import NETWORKS as _NETWORKS
from codes.models.weights import load_weights as _load_weights
from codes.utils.errors import UserError as _UserError
from codes.utils.files import ROOT as _ROOT

dependencies = ["torch", "numpy", "scipy", "pydantic", "safetensors", "skimage", "yaml"]

Weights = str | PathLike | Mapping[str, Tensor] | None


def _chosen(name: str, pretrained: bool, weights: Weights) -> Weights:
    """The weights in Models/ if `pretrained`, else the given ones. Raises UserError for both, or if there are none."""
    if not pretrained:
        return weights
    if weights is not None:
        raise _UserError(f"{name}: either pretrained=True or weights, not both")
    path = _ROOT / "Models" / f"{name}.safetensors"
    if not path.is_file():
        raise _UserError(f"{name}: no weights come with this repository; train them and name the file as `weights`")
    return path


def _with_weights(network: nn.Module, weights: Weights) -> nn.Module:
    if weights is not None:
        _load_weights(network, weights)
    return network.eval()


def dsdnet(weights: Weights = None, **config) -> nn.Module:
    """DSDNet of any configuration; the default is the paper's full network."""
    return _with_weights(_NETWORKS["DSDNet"].build(**config), weights)


def dsdnet_plus(weights: Weights = None, **config) -> nn.Module:
    """DSDNet+ of any configuration; it does not use masks."""
    return _with_weights(_NETWORKS["DSDNet_plus"].build(**config), weights)


def feather(weights: Weights = None) -> nn.Module:
    """DSDNet-Feather: 2 stages of 24 + 24 filters, 38.9M parameters."""
    return _with_weights(_build_preset("feather"), weights)


def light(weights: Weights = None) -> nn.Module:
    """DSDNet-Light: 3 stages of 24 + 24 filters, 58.4M parameters."""
    return _with_weights(_build_preset("light"), weights)


def heavy(weights: Weights = None) -> nn.Module:
    """DSDNet-Heavy: 3 stages of 49 + 49 filters, 242.7M parameters."""
    return _with_weights(_build_preset("heavy"), weights)


def full(weights: Weights = None) -> nn.Module:
    """DSDNet: 4 stages of 49 + 49 filters, 323.6M parameters."""
    return _with_weights(_build_preset("full"), weights)


def plus_e(weights: Weights = None) -> nn.Module:
    """DSDNet+E: 1 stage of 16 + 16 filters, 14.6M parameters."""
    return _with_weights(_build_preset("plus_e"), weights)


def plus_p(weights: Weights = None) -> nn.Module:
    """DSDNet+P: 4 stages of 48 + 48 filters, 131.3M parameters."""
    return _with_weights(_build_preset("plus_p"), weights)


def dsdnet_tiny(pretrained: bool = False, weights: Weights = None) -> nn.Module:
    """DSDNet-Tiny, our own network: 4 stages of 8 + 8 filters; `pretrained`: with the weights in Models/."""
    return _with_weights(_build_preset("tiny"), _chosen("dsdnet_tiny", pretrained, weights))


def dsdnet_small(pretrained: bool = False, weights: Weights = None) -> nn.Module:
    """The paper's network in a small size: 3 stages of 12 + 12 filters; `pretrained`: with the weights in Models/.

    Raises UserError while its weights are not there.
    """
    return _with_weights(_build_preset("small"), _chosen("dsdnet_small", pretrained, weights))


def deblur(image: np.ndarray, kernel: np.ndarray, **options) -> np.ndarray:
    """Restore one image, an array (H, W) or (H, W, C), uint8, uint16 or float from 0 to 1; returns one of its kind.

    kernel: (h, w), or (h, w, 3) for one for each channel, with any positive sum. options: those of `deblur` in
    codes/restoration/call.py: weights, preset, device, orientation, noise, mask, gamma, precision, tile,
    gigabytes, ensemble.
    """
    from codes.restoration.call import deblur as call  # needs all of requirements.txt; the networks do not

    return call(image, kernel, **options)
