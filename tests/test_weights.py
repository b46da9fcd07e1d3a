"""Weight files: wrappings and strictness. Damaged files and pickles with code are in test_bad_input.py."""

import pytest
import torch
from safetensors.torch import save_file

import hubconf
from codes.models.factory import load_pretrained
from codes.models.network import Network
from codes.models.paper.released_names import as_released
from codes.models.registry import NETWORKS
from codes.models.weights import load_weights, save_weights
from codes.utils.errors import UserError

CONFIG = {"nf_p": 4, "nf_d": 5, "n_iter": 2}


@pytest.fixture
def net():
    return hubconf.dsdnet(**CONFIG)


def released(net) -> dict[str, torch.Tensor]:
    """A state dictionary as the authors store it, repeated filters included."""
    return {key: tensor.clone() for key, tensor in as_released(net.state_dict()).items()}


@pytest.mark.parametrize("wrapping", ["bare", "module", "params"])
def test_the_authors_three_wrappings(net, tmp_path, wrapping):
    state = released(net)
    wrapped = {"bare": state, "module": {f"module.{key}": state[key] for key in state}, "params": {"params": state}}
    torch.save(wrapped[wrapping], tmp_path / "full.pth")
    other = hubconf.dsdnet(weights=tmp_path / "full.pth", **CONFIG)
    torch.testing.assert_close(other.state_dict(), net.state_dict())


@pytest.mark.parametrize("network", ["DSDNet", "DSDNet_plus"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0), (torch.float16, 1e-3)])
def test_safetensors_round_trip(tmp_path, network, dtype, tolerance):
    net = NETWORKS[network].build(**CONFIG)
    save_weights(net, tmp_path / "net.safetensors", dtype)
    other = NETWORKS[network].build(**CONFIG)
    load_weights(other, tmp_path / "net.safetensors")
    for key, tensor in net.state_dict().items():
        loaded = other.state_dict()[key]
        assert loaded.dtype == torch.float32
        torch.testing.assert_close(loaded, tensor, atol=tolerance, rtol=tolerance)


def test_one_line_counts_the_tensors_that_differ_and_nothing_is_loaded(net):
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    state = {key: tensor + 1 for key, tensor in released(net).items()}
    del state["hp.0.head.0.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["hn.1.mlp.0.weight"] = torch.zeros(8, 6, 5, 5)
    state["p.0.m.conv1.bias"][0] = torch.nan
    with pytest.raises(UserError) as error:
        load_weights(net, state)
    message, total = str(error.value), len(before) + 1
    first = "hn.1.mlp.0.weight 8x6x5x5, here 64x6x3x3"
    assert message.startswith(
        f"the dictionary of weights does not fit this DSDNet: 4 of {total} tensors differ (first: {first})"
    )
    assert "network_G" in message
    assert "strict_load: false" in message
    # The notes of the error name every one of them.
    assert error.value.__notes__ == [
        first,
        "solver.m_p.0.head.0.bias is missing",
        "extra.weight is not in this DSDNet",
        "p.0.m.conv1.bias is not finite",
    ]
    torch.testing.assert_close(dict(net.state_dict()), before)


@pytest.mark.parametrize("state", [{"x" * 5000: torch.zeros(1)}, {f"layer{i}.w": torch.zeros(1) for i in range(500)}])
def test_a_foreign_file_gives_a_short_line(net, state, tmp_path):
    folder = tmp_path / ("f" * 200)
    folder.mkdir()
    save_file(state, folder / "w.safetensors")
    with pytest.raises(UserError) as error:
        load_weights(net, folder / "w.safetensors")
    assert len(str(error.value)) < 300
    assert len(error.value.__notes__) == len(net.state_dict()) + len(state)


def test_not_strict_loads_what_fits_and_counts_the_rest(net, capsys):
    state = {key: torch.full_like(tensor, 2) for key, tensor in released(net).items()}
    state["hn.1.mlp.0.weight"] = torch.zeros(1)
    state["p.1.m.conv1.bias"][0] = torch.nan
    load_weights(net, state, strict=False)
    warned = capsys.readouterr().err
    assert f"2 of {len(net.state_dict())} tensors differ (first: hn.1.mlp.0.weight 1, here 64x6x3x3)" in warned
    assert net.shrink_v[1].conv1.bias.isfinite().all()
    assert (net.F[0].weight == 2).all()
    assert not (net.solver.m_n[1].mlp[0].weight == 2).any()


def test_repeated_filters_and_keys_have_to_agree(net):
    state = released(net)
    with pytest.raises(UserError, match=r"i\.1\.conv_data\.weight should repeat d\.1\.conv\.weight"):
        load_weights(net, state | {"i.1.conv_data.weight": state["i.1.conv_data.weight"] + 1})
    with pytest.raises(UserError, match=r"module\.p\.0\.m\.conv1\.bias appears twice"):
        load_weights(net, state | {"module.p.0.m.conv1.bias": state["p.0.m.conv1.bias"] + 1})
    del state["p.0.conv.weight"]
    with pytest.raises(UserError) as error:
        load_weights(net, state)
    assert error.value.__notes__ == ["F.0.weight is missing", "i.0.conv_prior.weight is not in this DSDNet"]


@pytest.mark.parametrize("tensor", [torch.zeros(2).long(), torch.zeros(2).cfloat(), torch.zeros(2).to_sparse()])
def test_tensors_that_are_no_weights(net, tensor):
    with pytest.raises(UserError, match="floats are needed"):
        load_weights(net, {"p.0.conv.weight": tensor})


class Other(Network):
    """A network of the given modules, which are never called."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def test_other_networks_keep_their_key_names(tmp_path):
    """Only DSDNet reads the authors' names: other networks may call their modules `i` or `hp`."""
    other = Other(i=torch.nn.Linear(2, 2), hp=torch.nn.Linear(2, 2))
    save_weights(other, tmp_path / "other.safetensors")
    load_weights(other, tmp_path / "other.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_networks_with_integers(tmp_path, suffix):
    """BatchNorm counts batches in an int64 tensor; float16 could not hold the number."""
    net, other = Other(norm=torch.nn.BatchNorm2d(2)), Other(norm=torch.nn.BatchNorm2d(2))
    net.norm.num_batches_tracked.fill_(70_001)
    if suffix == "pth":
        torch.save(net.state_dict(), tmp_path / "net.pth")
    else:
        save_weights(net, tmp_path / "net.safetensors", torch.float16)
    load_weights(other, tmp_path / f"net.{suffix}")
    assert other.norm.num_batches_tracked == 70_001


def test_classical_methods_have_no_weights_and_networks_need_them(net):
    with pytest.raises(UserError, match="has no weights"):
        load_pretrained(NETWORKS["Blurry"].build(), "Models/light.pth")
    with pytest.raises(UserError, match="needs weights"):
        load_pretrained(net, None)
