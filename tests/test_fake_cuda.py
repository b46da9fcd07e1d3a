"""Networks, training steps and tiles on a GPU that is not there, with torch's fake tensors.

A fake tensor has a shape, a type and a device, but no values. An operation on tensors of two devices raises an error,
and so does reading a value (`.item()`, `.tolist()`, `if tensor`), for which a GPU would have to be waited for.

These tests cannot see: wrong values; CUDA kernels that are missing, slow or fail for a type or a size (cuFFT in half
precision, cuDNN); TF32; how much memory is used; NCCL and several GPUs; the code that torch.compile makes; whatever
uses numpy (`Restorer.restore` itself, Wiener, Richardson-Lucy). For those there is codes/scripts/check_gpu.py.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

import hubconf
from codes.data.patches import Sample
from codes.inference import restorer
from codes.inference.restorer import Restorer
from codes.models.factory import build_preset
from codes.models.paper.blur import BORDERS
from codes.models.paper.initialisation import INITIALISATIONS
from codes.models.paper.shrinkage import SHRINKAGES
from codes.models.paper.solver import SOLVERS
from codes.models.registry import NETWORKS
from codes.models.tiny import solver as newton
from codes.training import trainer
from codes.training.options import Recipe
from codes.training.trainer import Trainer
from codes.utils.processes import Processes
from codes.utils.progress import Progress
from studies.complexity import convolution_flop
from studies.reference import LiteralDSDNet

CUDA = torch.device("cuda", 0)
on_fake_cuda = pytest.mark.usefixtures("_fake_cuda")
SIZE = (40, 56)


@pytest.fixture
def _fake_cuda(monkeypatch):
    """All tensors of a test are fake, and autocast supposes that there is a GPU."""
    if not torch.backends.cuda.is_built():
        pytest.skip("fake tensors on cuda need a CUDA build of torch (though no GPU)")
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(nn.Module, "to", moved)
    with FakeTensorMode():
        yield


def moved(network, device=None, memory_format=torch.preserve_format):
    """nn.Module.to, which exchanges the content of parameters; fake ones have to be replaced."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                layout = memory_format if parameter.dim() == 4 else torch.preserve_format
                changed = parameter.detach().to(device or parameter.device, memory_format=layout)
                module._parameters[name] = nn.Parameter(changed, parameter.requires_grad)
    return network


def inputs(device=CUDA, batch=2, channels=3, per_channel=False):
    kernel = torch.rand(batch, *([channels] if per_channel else []), 7, 9, device=device)
    return torch.rand(batch, channels, *SIZE, device=device), kernel


def restored(network, precision="float32", per_channel=False):
    """All stages of a plain call and of one with mask, sigma and x0 where the network accepts them."""
    network = network.to(CUDA).eval()
    y, k = inputs(per_channel=per_channel)
    mask = torch.ones(2, 1, *SIZE, device=CUDA) if network.takes_mask else None
    dtype = getattr(torch, precision)
    with torch.no_grad(), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        x0 = network.initial(y, k)
        plain = network.images(y, k)
        return [x0, *plain, *network.images(y, k, mask=mask, sigma=torch.rand(2, device=CUDA), x0=x0)]


def assert_on_gpu(images):
    for image in images:
        assert (image.device, image.dtype, image.shape[-2:]) == (CUDA, torch.float32, SIZE)


@on_fake_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("preset", ["tiny", "small", "feather", "plus_e"])
def test_every_preset(preset, precision):
    assert_on_gpu(restored(build_preset(preset, nb=1), precision))


@on_fake_cuda
@pytest.mark.parametrize(
    "parts",
    [
        *({"solver": name} for name in SOLVERS),
        *({"shrinkage": name} for name in SHRINKAGES),
        *({"init": name} for name in INITIALISATIONS),
        *({"padding_mode": border} for border in BORDERS),
    ],
)
def test_every_part(parts):
    network = hubconf.dsdnet(nf_p=4, nf_d=5, n_iter=2, **parts)
    assert_on_gpu(restored(network, "bfloat16", per_channel=True))


@on_fake_cuda
@pytest.mark.parametrize("name", ["Blurry", "Initial", "Denoiser"])
def test_other_networks(name):
    assert_on_gpu(restored(NETWORKS[name].build(), "bfloat16"))


@on_fake_cuda
@pytest.mark.parametrize("preset", ["tiny", "light"])
def test_the_literal_reference(preset):
    assert_on_gpu([LiteralDSDNet(build_preset(preset, nb=1).to(CUDA))(*inputs())])


@on_fake_cuda
def test_operations_do_not_depend_on_the_device():
    network = build_preset("light", nb=1)
    on_cpu = convolution_flop(network, *inputs("cpu"))
    assert convolution_flop(network.to(CUDA), *inputs()) == on_cpu > 0


class FakeGPU(_DummyBackendModule):
    """What torch asks of a backend, for a device called `gpu`."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def manual_seed_all(self, seed):
        pass


def register_gpu():
    _setup_privateuseone_for_python_backend("gpu", FakeGPU())


@pytest.fixture(scope="module")
def other_process():
    """A process with a device `gpu`. Torch's backward pass asks the driver of `cuda` for the GPU, even for fakes."""
    with ProcessPoolExecutor(1, get_context("spawn"), register_gpu) as pool:
        yield lambda *arguments: pool.submit(*arguments).result()


class CountOfSteps(int):
    """Stands for the count of AveragedModel, which torch copies to the GPU; its value may not be read there."""

    def to(self, device):
        return torch.ones((), device=device)


def training_step(preset, planted):
    """Forward, loss, backward, clipping, optimiser and average, with a mask where there may be one.

    Returns the devices of the optimiser's state, or the error, which could not be sent to the other process itself.
    """
    schedule = {"manual_seed": 0, "niter": 9, "lr_G": 1e-3, "val_freq": 9, "fft_weight": 0.1, "reblur_weight": 0.1}
    trainer.fill_gaps = lambda image, mask: image  # it is computed on the CPU, where values may be read
    FakeTensorMode.__deepcopy__ = lambda mode, memo: mode  # a copied network belongs to the same fake machine
    nn.Module.to = moved
    gpu = torch.device("gpu", 0)
    with FakeTensorMode():
        network = build_preset(preset, nb=2).to(gpu)
        steps = Trainer(network, Recipe(**schedule, grad_clip=1.0, ema_decay=0.9), gpu, Processes())
        y, k = inputs("cpu")
        mask = torch.ones(2, 1, *SIZE) if network.takes_mask else None
        if planted:
            network.F[1].weight = nn.Parameter(network.F[1].weight.cpu())
        try:
            for _ in range(2):  # the first step only copies the weights to the average
                steps.step(Sample(y, y, k, torch.zeros_like(y), torch.rand(2), mask))
                del steps.average.n_averaged
                steps.average.n_averaged = CountOfSteps(1)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return {str(state["exp_avg"].device) for state in steps.optimizer.state.values()}


@pytest.mark.parametrize("preset", ["tiny", "light", "plus_e"])
def test_a_training_step(other_process, preset):
    assert other_process(training_step, preset, False) == {"gpu:0"}


def test_a_tensor_on_the_cpu_is_found_in_a_training_step(other_process):
    message = other_process(training_step, "tiny", True)
    assert all(word in message for word in ("device", "gpu:0", "cpu"))


@on_fake_cuda
@pytest.mark.parametrize("tile", ["off", 192])
@pytest.mark.parametrize("preset", ["tiny", "light"])
def test_tiles(monkeypatch, preset, tile):
    monkeypatch.setattr(restorer, "used", lambda device: 0)
    monkeypatch.setattr(restorer, "budget", lambda *_: 1e9)
    monkeypatch.setattr(restorer, "fill_gaps", lambda image, mask: image)
    restoring = Restorer(build_preset(preset, nb=1), CUDA, "bfloat16", tile=tile)
    task = restorer._Task(torch.rand(1, 3, 200, 220), torch.rand(1, 7, 9), torch.ones(1, 1, 200, 220), None, True)
    with Progress(show=False) as progress:
        images = restoring._tiled(task, progress)
    assert [image.shape[-2:] for image in images] == [(200, 220)] * 2
    assert progress.done == (1 if tile == "off" else 4)


@on_fake_cuda
def test_a_tensor_on_the_cpu_is_found(monkeypatch):
    original = newton.fading
    monkeypatch.setattr(newton, "fading", lambda *arguments: original(*arguments).cpu())
    with pytest.raises(RuntimeError, match="two devices, cuda:0 and cpu"):
        restored(build_preset("tiny", nb=1))


@on_fake_cuda
def test_reading_a_value_is_found(monkeypatch):
    original = newton.fading
    monkeypatch.setattr(newton, "fading", lambda *arguments: original(*arguments) / original(*arguments).sum().item())
    with pytest.raises(RuntimeError, match=r"item|data-dependent|_local_scalar_dense"):
        restored(build_preset("tiny", nb=1))
