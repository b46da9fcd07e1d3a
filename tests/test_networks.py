"""The paper's networks and what all networks have in common."""

import time

import pytest
import torch

import hubconf
from codes.models.factory import build_network, build_preset
from codes.models.network import Network
from codes.models.paper.cgnet import CGNet
from codes.models.paper.dsdnet import DSDNet
from codes.models.registry import NETWORKS, PRESETS, register_network
from codes.utils.errors import UserError
from studies.reference import LiteralDSDNet

FIXTURES = ["dsdnet_a", "dsdnet_b", "dsdnet_circular", "dsdnet_plus_a", "dsdnet_plus_b"]
PARAMETERS = {
    "tiny": 2_384_980,
    "feather": 38_900_422,
    "light": 58_350_633,
    "heavy": 242_708_565,
    "full": 323_611_420,
    "small": 14_696_547,
    "plus_e": 14_636_868,
    "plus_p": 131_337_094,
}


def small(network="DSDNet", **config):
    net = NETWORKS[network].build(**{"nf_p": 5, "nf_d": 4, "n_iter": 2} | config).eval()
    # Small random weights would hide a wrong term behind x0.
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.3)
    return net


def blurry_and_kernel(size=(40, 52), kernel_size=(9, 9), batch=2):
    kernel = torch.rand(batch, *kernel_size) ** 3
    return torch.rand(batch, 3, *size), kernel / kernel.sum((1, 2), keepdim=True)


@pytest.mark.parametrize("name", FIXTURES)
def test_parity_with_the_authors_implementation(shared, name):
    fixture = torch.load(shared / "parity" / f"{name}.pt", weights_only=True)
    build = {"DSDNet": hubconf.dsdnet, "DSDNet_plus": hubconf.dsdnet_plus}[fixture["network"]]
    net = build(weights=fixture["state_dict"], **fixture["config"])
    with torch.no_grad():
        stages = net(fixture["blurry"], fixture["kernel"], stages=True)
        initial = net.initial(fixture["blurry"], fixture["kernel"])
    restored = torch.stack(stages) if fixture["network"] == "DSDNet_plus" else stages[-1]
    # DSDNet+ with random weights reaches values of about 9: relative there.
    scale = max(1.0, fixture["restored"].abs().max().item()) if "plus" in name else 1.0
    assert (initial - fixture["initial"]).abs().max() <= 2e-5
    assert (restored - fixture["restored"]).abs().max() <= 2e-5 * scale


@pytest.mark.parametrize("name", FIXTURES[:3])
def test_parity_of_the_literal_reference(shared, name):
    fixture = torch.load(shared / "parity" / f"{name}.pt", weights_only=True)
    net = LiteralDSDNet(hubconf.dsdnet(weights=fixture["state_dict"], **fixture["config"]))
    with torch.no_grad():
        assert (net(fixture["blurry"], fixture["kernel"]) - fixture["restored"]).abs().max() <= 2e-5


@pytest.mark.parametrize(
    "config",
    [*({"padding_mode": border} for border in ("replicate", "circular", "zero")), {"max_nc": 1}, {"max_nc": 2}],
)
@pytest.mark.parametrize("kernel_size", [(9, 9), (3, 3), (5, 13), (1, 7)])
def test_equals_the_literal_reference(config, kernel_size):
    net = small(**config)
    y, k = blurry_and_kernel(kernel_size=kernel_size)
    with torch.no_grad():
        torch.testing.assert_close(net(y, k), LiteralDSDNet(net)(y, k), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_mask_equals_the_literal_reference(channels):
    net = small()
    y, k = blurry_and_kernel()
    mask = (torch.rand(2, channels, 40, 52) > 0.2).float()
    with torch.no_grad():
        masked = net(y, k, mask)
        torch.testing.assert_close(masked, LiteralDSDNet(net)(y, k, mask), atol=1e-4, rtol=0)
        # Masked pixels carry nothing: whatever they hold, the result is the same.
        torch.testing.assert_close(masked, net(torch.where(mask > 0, y, 7.0), k, mask))
        torch.testing.assert_close(net(y, k, torch.ones_like(mask)), net(y, k), atol=1e-5, rtol=0)


def gradients(net, network, data):
    net.zero_grad()
    torch.manual_seed(0)
    network(*data).square().mean().backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def test_training_gradients_equal_the_literal_references():
    net, data = small(), blurry_and_kernel(size=(24, 28), batch=1)
    for ours, literal in zip(gradients(net, net, data), gradients(net, LiteralDSDNet(net), data), strict=True):
        torch.testing.assert_close(ours, literal, atol=1e-5 * max(1, literal.abs().max()), rtol=1e-3)


def test_checkpointed_stages_have_the_same_gradients():
    net, data = small(dropout_rate=0.3).train(), blurry_and_kernel(size=(24, 28), batch=1)
    plain, net.checkpoint_stages = gradients(net, net, data), True
    torch.testing.assert_close(gradients(net, net, data), plain)


def test_faster_than_the_literal_reference():
    """A coarse bound that a mistake in the shared terms or in the Fourier transforms would break."""
    net, data = small(nf_p=8, nf_d=8), blurry_and_kernel(size=(96, 96), kernel_size=(45, 45), batch=1)

    def seconds(network):  # of processor time: other processes of the machine do not count
        start = time.process_time()
        network(*data)
        return time.process_time() - start

    literal = LiteralDSDNet(net)
    with torch.no_grad():
        times = [(seconds(net), seconds(literal)) for _ in range(3)]
    ours, literals = (sorted(column) for column in zip(*times, strict=True))
    assert ours[1] < literals[1]


@pytest.mark.parametrize("network", ["DSDNet", "DSDNet_plus"])
def test_an_even_kernel_restores_as_the_same_brought_to_odd_size(network):
    net = small(network)
    y, k = blurry_and_kernel(kernel_size=(8, 6))
    odd = torch.nn.functional.pad(k, (1, 0, 1, 0))
    with torch.no_grad():
        torch.testing.assert_close(net(y, k), net(y, odd))
        torch.testing.assert_close(net.initial(y, k), net.initial(y, odd))


@pytest.mark.parametrize("network", ["DSDNet", "DSDNet_plus"])
@pytest.mark.parametrize("size", [(33, 47), (17, 64)])
def test_any_size_and_stages(network, size):
    """And the images of a batch do not mix."""
    net = small(network, n_iter=3)
    y, k = blurry_and_kernel(size=size, batch=3)
    with torch.no_grad():
        stages = net(y, k, stages=True)
        assert [stage.shape for stage in stages] == [y.shape] * 3
        torch.testing.assert_close(stages[-1], net(y, k))
        torch.testing.assert_close(net(y[1:2], k[1:2]), stages[-1][1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("preset", PARAMETERS)
def test_parameter_counts(preset):
    with torch.device("meta"):
        net = build_preset(preset)
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[preset]


@pytest.mark.parametrize("preset", PRESETS)
def test_hub_has_a_function_for_every_preset(preset):
    entry = getattr(hubconf, {"tiny": "dsdnet_tiny", "small": "dsdnet_small"}.get(preset, preset))
    with torch.device("meta"):
        net = entry()
    assert not net.training
    # Its docstring says the true numbers of stages and filters.
    options = PRESETS[preset]
    assert f"{options['nb']} stage" in entry.__doc__
    assert f"{options['nf_p']} + {options['nf_d']} filters" in entry.__doc__


def test_hub_says_that_weights_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(hubconf, "_ROOT", tmp_path)
    with pytest.raises(UserError, match="dsdnet_small: no weights come with this repository"):
        hubconf.dsdnet_small(pretrained=True)


def test_the_papers_network_is_built_unless_parts_are_exchanged():
    plain = hubconf.dsdnet(nf_p=2, nf_d=2, n_iter=1, nf_n=64, solver="cgnet", shrinkage="maxout")
    assert type(plain) is DSDNet
    assert type(plain.solver) is CGNet
    exchanged = hubconf.dsdnet(nf_p=2, nf_d=2, n_iter=1, nf_n=8)
    assert isinstance(exchanged, DSDNet)
    assert exchanged.solver.m_n[0].mlp[0].out_channels == 8


class Toy(Network):
    def forward(self, blurry, kernel):
        return 0.5 * blurry


def test_a_network_that_defines_forward_only():
    y, k = blurry_and_kernel()
    net = Toy()
    assert net.accepted(sigma=torch.ones(2), x0=y, stages=True) == {}
    assert net.n_iter == 1
    assert torch.equal(net.initial(y, k), y)
    assert [image.shape for image in net.images(y, k, sigma=torch.ones(2))] == [y.shape]
    with pytest.raises(ValueError, match="Toy does not use masks"):
        net.images(y, k, mask=torch.ones_like(y))


def test_all_stages_and_all_arguments_of_a_network_that_has_them():
    y, k = blurry_and_kernel()
    net = small(n_iter=3)
    mask = torch.ones(2, 1, 40, 52)
    with torch.no_grad():
        images = net.images(y, k, mask=mask, x0=y, sigma=torch.ones(2))
        torch.testing.assert_close(images, net(y, k, mask, stages=True, x0=y))
        assert not torch.allclose(images[-1], net(y, k, mask))


def test_only_networks_are_registered():
    with pytest.raises(TypeError, match="not a subclass of"):
        register_network("Linear", NETWORKS["DSDNet"].options)(torch.nn.Linear)
    with pytest.raises(ValueError, match="registered twice"):
        register_network("DSDNet", NETWORKS["DSDNet"].options)(Toy)


def test_dropout_acts_in_training_only():
    net = small(dropout_rate=0.5)
    y, k = blurry_and_kernel()
    with torch.no_grad():
        torch.testing.assert_close(net(y, k), net(y, k))
        net.train()
        assert not torch.allclose(net(y, k), net(y, k))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"padding_mode": "mirror"}, "unknown padding_mode 'mirror'"),
        ({"n_iter": 0}, "at least 1"),
        ({"max_nc": 0}, "at least 1"),
        ({"in_nc": 1, "out_nc": 3}, "keeps its channels"),
        *(({part: "papr"}, "unknown .* 'papr'; ") for part in ("init", "shrinkage", "solver")),
    ],
)
def test_impossible_values_are_refused(config, message):
    with pytest.raises((ValueError, UserError), match=message):
        small(**config)


@pytest.mark.parametrize("parts", [{"solver": "cgnet_plus"}, {"solver": "cg"}, {"network": "DSDNet_plus"}])
def test_a_mask_is_refused_if_the_x_step_does_not_use_it(parts):
    with pytest.raises(ValueError, match="does not use masks"):
        small(**parts)(*blurry_and_kernel(), torch.ones(2, 1, 40, 52))


def test_double_precision_input_is_converted_to_that_of_the_weights():
    net, (y, k) = small(nf_p=3), blurry_and_kernel()
    with torch.no_grad():
        torch.testing.assert_close(net(y.double(), k.double()), net(y, k))


def test_impossible_values_in_an_option_file_name_their_group():
    with pytest.raises(UserError, match=r"network_G: .*keeps its channels"):
        build_network(NETWORKS["DSDNet"].options(nf_p=4, nf_d=4, nb=1, in_nc=1, out_nc=3))


def test_an_error_in_a_constructor_names_its_line(monkeypatch):
    monkeypatch.setattr("codes.models.paper.dsdnet.Filters", lambda in_nc: None)
    with pytest.raises(UserError, match=r"cannot be built \(.*argument.*; dsdnet\.py, line \d+\)"):
        build_preset("light")
