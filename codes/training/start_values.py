"""Start values for training the paper's network, by name (`train.start_values`).

The network itself stays as released. With torch's own start values it learns slowly: the filters F and G mix 49 pixels
each, the shrinkage functions have biases far above a filter response, and the last ReLU of a U-Net often dies.
"""

from collections.abc import Callable

import torch
from torch import nn

from codes.models.paper.cgnet import CGNet
from codes.models.paper.shrinkage import Maxout
from codes.utils.errors import UserError
from codes.utils.registry import Registry

START_VALUES: Registry[Callable[[nn.Module], None]] = Registry("start values")

# Standard deviation of the Maxout weights: v and z start close to zero.
MAXOUT_WEIGHT_STD = 0.05
# Constant output of every U-Net: its last ReLU starts open at every pixel.
UNET_OUTPUT = 0.05
# m_p and m_d start as the sigmoid of this number, 0.82.
WEIGHT_LOGIT = 1.5


@START_VALUES.register("open_unets")
@torch.no_grad()
def open_unets(network: nn.Module) -> None:
    """Start a DSDNet with CGNet as the identity, with every U-Net open and the image in its input.

    The first 2C filters of F and of G are the pairs +x_c and -x_c of the C channels, so that a U-Net, whose output
    is not negative, can add to a pixel and subtract from it. Equal outputs of a pair cancel: with a constant
    U-Net output the first correction of x is zero (up to the random filters and the border). The other filters are
    random with mean 0. v and z start near zero, so the residual r holds the image itself.
    Raises UserError for a network without these parts or with fewer than 2C filters.
    """
    solver = getattr(network, "solver", None)
    if not isinstance(solver, CGNet) or not all(type(s) is Maxout for s in (*network.shrink_v, *network.shrink_z)):
        raise UserError(
            "train.start_values: 'open_unets' is for a DSDNet with solver: cgnet and shrinkage: maxout; remove the key"
        )
    for bank in (*network.F, *network.G):
        start_with_pairs(bank.weight)
    for shrink in (*network.shrink_v, *network.shrink_z):
        for conv in (shrink.conv1, shrink.conv2):
            nn.init.normal_(conv.weight, std=MAXOUT_WEIGHT_STD)
            nn.init.zeros_(conv.bias)
    for hypnet in (*solver.m_p, *solver.m_d):
        hypnet.head[0].weight.mul_(0.1)
        nn.init.constant_(hypnet.head[0].bias, WEIGHT_LOGIT)
        nn.init.zeros_(hypnet.res[4].weight)
        nn.init.zeros_(hypnet.res[4].bias)
    for unet in solver.unet:
        unet.start_constant(UNET_OUTPUT)


def start_with_pairs(filters: torch.Tensor) -> None:
    """Set the first 2C of the filters (N, C, h, w) to plus and minus a single pixel of each channel."""
    channels, height, width = filters.shape[1:]
    if len(filters) < 2 * channels:
        raise UserError(f"train.start_values: 'open_unets' needs nf_p and nf_d of at least {2 * channels}")
    filters.sub_(filters.mean((-2, -1), keepdim=True))
    filters[: 2 * channels] = 0
    for c in range(channels):
        filters[c, c, height // 2, width // 2] = 1
        filters[channels + c, c, height // 2, width // 2] = -1
