"""What matters on a GPU and can be tested without one: TF32, memory, devices, half precision, torch.compile."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import hubconf
from codes import train
from codes.data.patches import Sample
from codes.inference import restorer
from codes.inference.restorer import Restorer
from codes.models.network import Network
from codes.training.options import Recipe
from codes.training.trainer import Trainer
from codes.utils import memory
from codes.utils.devices import choose_device
from codes.utils.errors import UserError
from codes.utils.processes import Processes
from tests.conftest import small_network

RECIPE = {"manual_seed": 0, "niter": 9, "lr_G": 1e-3, "val_freq": 9}
CUDA = torch.device("cuda")


def inputs(per_channel=False, size=(24, 28)):
    kernel = torch.rand(2, *([3] if per_channel else []), 5, 7)
    return torch.rand(2, 3, *size), kernel / kernel.sum((-2, -1), keepdim=True)


def batch():
    y, k = inputs()
    return Sample(y, y, k, torch.zeros_like(y), torch.full((2,), 0.01))


class Watching(Network):
    """Notes whether TF32 is allowed, in the forward and in the backward pass."""

    def __init__(self):
        super().__init__()
        self.factor, self.seen = nn.Parameter(torch.ones(1)), []

    def note(self, *_):
        self.seen.append((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))

    def forward(self, blurry, kernel):
        self.note()
        restored = self.factor * blurry
        if restored.requires_grad:
            restored.register_hook(self.note)
        return restored


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_used_on_request_only_and_settings_are_restored(monkeypatch, tf32):
    monkeypatch.setattr(restorer, "check_settings", lambda *_: None)  # it refuses tf32 on a CPU
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    assert before == (True, "highest")
    network, (y, k) = Watching(), inputs()
    image = y[0].permute(1, 2, 0).numpy()
    Restorer(network, precision="tf32" if tf32 else "float32").restore(image, k[0].numpy())
    Restorer(network, precision="bfloat16").restore(image, k[0].numpy())
    Trainer(network, Recipe(**RECIPE, tf32=tf32), torch.device("cpu"), Processes()).step(batch())
    exact, fast = (False, "highest"), (True, "high")
    expected = fast if tf32 else exact
    assert network.seen == [expected, exact, expected, expected]
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before


@pytest.fixture
def _gpu_of_8_gb(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2e9, 8e9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 6e9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1e9)


@pytest.mark.usefixtures("_gpu_of_8_gb")
def test_what_the_allocator_keeps_is_free_memory():
    assert memory.budget(CUDA) == memory._SHARE * 7e9
    assert memory.budget(CUDA, 3.0) == 2e9


@pytest.mark.usefixtures("_gpu_of_8_gb")
def test_a_limit_for_the_gpu_does_not_count_the_memory_of_the_process(monkeypatch):
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=5e9))
    monkeypatch.setattr(memory.psutil, "Process", lambda: process)
    restoring = Restorer(small_network(), tile="auto", gigabytes=3.0)
    restoring.device = CUDA
    y, k = inputs(size=(200, 300))
    assert restoring._side(restorer._Task(y, k, None, None, False)) == (304, True)


def test_gpus_of_the_list_that_a_process_does_not_see(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # as under SLURM with one GPU for each process
    assert [str(choose_device([0, 1], rank)) for rank in (0, 1)] == ["cuda:0", "cuda:0"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("uuids", [["GPU-a", "GPU-b"], ["GPU-a", "GPU-a"]])
def test_two_processes_do_not_train_on_one_gpu(monkeypatch, uuids):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuids[0]))
    group = SimpleNamespace(local_rank=0, agree=lambda value: True, all_of=lambda value: [value, uuids[1]])
    options = SimpleNamespace(gpu_ids="auto")
    if uuids[0] != uuids[1]:
        assert str(train.training_device(options, group)) == "cuda:0"
        return
    with pytest.raises(UserError, match="gpu_ids: 2 processes for 1 GPUs; start one process for each GPU"):
        train.training_device(options, group)


NETWORKS = {
    "tiny": lambda: small_network(),
    "light": lambda: hubconf.dsdnet(nf_p=3, nf_d=4, n_iter=2).eval(),
    "plus": lambda: hubconf.dsdnet_plus(nf_p=3, nf_d=4, n_iter=2).eval(),
    "fft": lambda: hubconf.dsdnet(nf_p=3, nf_d=4, n_iter=2, solver="fft_denoise").eval(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_half_precision_transform_in_float32(name):
    """The CPU has no transforms in half precision at all, cuFFT has them for powers of two only."""
    network, (y, k) = NETWORKS[name](), inputs(per_channel=True)
    with torch.no_grad():
        expected = [network.initial(y, k), network(y, k)]
        network.half()
        restored = [network.initial(y.half(), k.half()), network(y.half(), k.half())]
    for image, exact in zip(restored, expected, strict=True):
        assert image.dtype == torch.float16
        assert (image.float() - exact).abs().mean() < 0.03


@pytest.mark.parametrize("name", ["tiny", "fft"])
def test_singular_matrices_are_not_looked_for(monkeypatch, name):
    """torch.linalg.solve reads whether there are any, for which the GPU has to be waited for."""
    monkeypatch.setattr(torch.linalg, "solve", lambda *_: pytest.fail("waits for the GPU"))
    network = NETWORKS[name]()
    network(*inputs()).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("checkpoint_stages", [False, True])
def test_each_stage_is_compiled_as_one_graph(checkpoint_stages):
    torch.compiler.reset()
    graphs, network = [], small_network().train()

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    y, k = inputs()
    expected = network(y, k)
    network.checkpoint_stages = checkpoint_stages
    network.compile(backend=backend)
    torch._dynamo.utils.counters.clear()
    restored = network(y, k)
    restored.sum().backward()
    torch.testing.assert_close(restored, expected)
    assert len(graphs) == network.n_iter
    assert not torch._dynamo.utils.counters["graph_break"]
    torch.compiler.reset()


class Layouts(TorchDispatchMode):
    """Compares the layout of each result of a replicated border with that which torch.compile computes with."""

    def __init__(self):
        super().__init__()
        self.results = []

    def __torch_dispatch__(self, operation, types, arguments=(), names=None):
        result = operation(*arguments, **(names or {}))
        if "replication_pad" in str(operation):
            planned = operation(*tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments))
            self.results.append((str(operation), result.stride() == planned.stride()))
        return result


def test_replicated_borders_have_the_layout_that_the_compiler_expects():
    y, k = inputs()
    with Layouts() as layouts:
        small_network().train()(y.contiguous(memory_format=torch.channels_last), k).sum().backward()
    assert {name.split(".")[1] for name, _ in layouts.results} == {"replication_pad2d", "replication_pad2d_backward"}
    assert all(same for _, same in layouts.results)
