"""Weight files: wrappings, strictness, and that reading never runs code."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

import hubconf
from codes.models.factory import load_pretrained
from codes.models.paper.released_names import as_released
from codes.models.registry import NETWORKS
from codes.models.weights import load_weights, read_weights, save_weights
from codes.utils.errors import UserError

CONFIG = {"nf_p": 4, "nf_d": 5, "n_iter": 2}


@pytest.fixture
def net():
    return hubconf.dsdnet(**CONFIG)


def released(net) -> dict[str, torch.Tensor]:
    """A state dictionary as the authors store it, repeated filters included."""
    return {key: tensor.clone() for key, tensor in as_released(net.state_dict()).items()}


def assert_same(first, second):
    for key, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[key], tensor, msg=key)


@pytest.mark.parametrize("wrapping", ["bare", "module", "params"])
def test_the_authors_three_wrappings(net, tmp_path, wrapping):
    state = released(net)
    content = {
        "bare": state,
        "module": {"module." + key: tensor for key, tensor in state.items()},
        "params": {"params": state},
    }[wrapping]
    torch.save(content, tmp_path / "full.pth")
    other = hubconf.dsdnet(weights=tmp_path / "full.pth", **CONFIG)
    assert_same(net, other)


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
    for key, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[key])


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


def test_a_repeated_filter_that_differs_is_refused(net):
    state = released(net)
    state["i.1.conv_data.weight"] += 1
    with pytest.raises(UserError, match=r"i\.1\.conv_data\.weight should repeat d\.1\.conv\.weight"):
        load_weights(net, state)


class Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, zipped):
    touched = tmp_path / "touched"
    content = {"p.0.conv.weight": Exploit(str(touched))}
    if zipped:
        torch.save(content, tmp_path / "evil.pth")
    else:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="refused, the pickle carries code"):
        read_weights(tmp_path / "evil.pth")
    assert not touched.exists()


def damaged_files(folder):
    torch.save({"a": torch.zeros(1000)}, folder / "whole.pth")
    whole = (folder / "whole.pth").read_bytes()
    save_file({"a": torch.zeros(1000)}, folder / "whole.safetensors")
    safe = (folder / "whole.safetensors").read_bytes()
    return {
        "empty.pth": b"",
        "cut.pth": whole[: len(whole) // 2],
        "noise.pth": bytes(range(256)) * 10,
        "text.pth": b"<html>404</html>",
        "empty.safetensors": b"",
        "cut.safetensors": safe[: len(safe) // 2],
        "noise.safetensors": bytes(range(256)) * 10,
    }


@pytest.mark.parametrize(
    "name",
    ["empty.pth", "cut.pth", "noise.pth", "text.pth"] + [f"{kind}.safetensors" for kind in ("empty", "cut", "noise")],
)
def test_damaged_files_give_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(damaged_files(tmp_path)[name])
    with pytest.raises(UserError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {0: torch.zeros(3)}, torch.zeros(3)])
def test_files_that_hold_no_weights(net, tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="holds no weights"):
        load_weights(net, tmp_path / "other.pth")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.complex64), torch.zeros(2).to_sparse()],
)
def test_tensors_that_are_no_weights(net, tensor):
    with pytest.raises(UserError, match="floats are needed"):
        load_weights(net, {"p.0.conv.weight": tensor})


def test_a_repeated_filter_without_its_original_is_named(net):
    state = released(net)
    del state["p.0.conv.weight"]
    with pytest.raises(UserError) as error:
        load_weights(net, state)
    assert error.value.__notes__ == ["F.0.weight is missing", "i.0.conv_prior.weight is not in this DSDNet"]


def test_a_key_with_and_without_prefix_is_refused(net):
    state = released(net)
    state["module.p.0.m.conv1.bias"] = state["p.0.m.conv1.bias"] + 1
    with pytest.raises(UserError, match=r"module\.p\.0\.m\.conv1\.bias appears twice"):
        load_weights(net, state)


def test_other_networks_keep_their_key_names(tmp_path):
    """Only DSDNet reads the authors' names: other networks may call their modules `i` or `hp`."""
    other = torch.nn.ModuleDict({"i": torch.nn.Linear(2, 2), "hp": torch.nn.Linear(2, 2)})
    save_weights(other, tmp_path / "other.safetensors")
    load_weights(other, tmp_path / "other.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_networks_with_integers(tmp_path, suffix):
    """BatchNorm counts batches in an int64 tensor; float16 could not hold the number."""
    net, other = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    net.num_batches_tracked.fill_(70_001)
    if suffix == "pth":
        torch.save(net.state_dict(), tmp_path / "net.pth")
    else:
        save_weights(net, tmp_path / "net.safetensors", torch.float16)
    load_weights(other, tmp_path / f"net.{suffix}")
    assert other.num_batches_tracked == 70_001


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such weight file"):
        read_weights(tmp_path / "none.pth")


def test_classical_methods_have_no_weights_and_networks_need_them(net):
    with pytest.raises(UserError, match="has no weights"):
        load_pretrained(NETWORKS["Blurry"].build(), "Models/light.pth")
    with pytest.raises(UserError, match="needs weights"):
        load_pretrained(net, None)
