"""The start values of a training of the paper's network."""

import pytest
import torch

from codes.models.factory import build_preset
from codes.models.paper.dsdnet import DSDNet
from codes.train import start_network
from codes.training.start_values import START_VALUES, UNET_OUTPUT
from codes.utils.errors import UserError
from tests import training_recipe


def started(**sizes: int) -> DSDNet:
    torch.manual_seed(0)
    network = DSDNet(**{"nf_p": 8, "nf_d": 8, "n_iter": 2, **sizes})
    START_VALUES["open_unets"](network)
    return network


def test_every_stage_starts_as_the_identity_with_open_unets():
    network, outputs = started(), []
    for unet in network.solver.unet:
        unet.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    blurry, kernel = torch.rand(1, 3, 40, 40), torch.full((1, 5, 5), 1 / 25)
    x0, stages = network.initial(blurry, kernel), network(blurry, kernel, stages=True)
    for output in outputs:
        torch.testing.assert_close(output, torch.full_like(output, UNET_OUTPUT))
    # The random filters have mean 0, so a constant response matters at the border only.
    inside = (..., slice(8, -8), slice(8, -8))
    for x in stages:
        torch.testing.assert_close(x[inside], x0[inside], atol=2e-2, rtol=0)


def test_the_unets_learn_from_the_first_step_and_stay_open():
    network = started()
    optimizer = torch.optim.AdamW(network.parameters(), 0.002)
    sharp = torch.rand(2, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    kernel = torch.full((2, 5, 5), 1 / 25)
    blurry = sharp + 0.05 * torch.randn(sharp.shape)
    for _ in range(3):
        optimizer.zero_grad()
        stages = network(blurry, kernel, stages=True)
        sum((x - sharp).abs().mean() for x in stages).backward()
        for unet in network.solver.unet:
            assert unet.u0.m[2].weight.grad.abs().max() > 0
        optimizer.step()
    outputs = []
    for unet in network.solver.unet:
        unet.register_forward_hook(lambda module, inputs, output: outputs.append((output > 0).float().mean().item()))
    network(blurry, kernel)
    assert min(outputs) > 0.2


def test_networks_that_it_does_not_fit_are_refused():
    with pytest.raises(UserError, match="at least 6"):
        started(nf_p=5)
    changes = ({"solver": "cg_denoise"}, {"shrinkage": "soft_threshold"}, {"shrinkage": "maxout_soft"})
    others = [torch.nn.Linear(1, 1), build_preset("plus_e"), *(build_preset("feather", **keys) for keys in changes)]
    for network in others:
        with pytest.raises(UserError, match="solver: cgnet and shrinkage: maxout"):
            START_VALUES["open_unets"](network)


@pytest.mark.parametrize("new", [True, False])
def test_a_misspelt_name_is_reported_even_if_the_training_continues(tmp_path, new):
    options = training_recipe.options(tmp_path, train__start_values="open_unet")
    with pytest.raises(UserError, match="unknown start values 'open_unet'; did you mean 'open_unets'"):
        start_network(options, new)
