"""The classical methods: each restores, at every border, and better than the blurry input."""

import numpy as np
import pytest
import torch
from skimage import data

from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import to_8bit
from codes.data.kernel_generator import camera_shake
from codes.evaluation.metrics import quality
from codes.inference.restorer import Restorer
from codes.models.classical import at_noise_level, shrink
from codes.models.factory import build_network
from codes.models.noise import estimate_noise
from codes.options import TestOptions, load_options
from tests.conftest import ROOT

METHODS = {
    name: method
    for name, method in load_options(TestOptions, ROOT / "options" / "test" / "table2.yml").rows().items()
    if method.path.pretrain_model_G is None
}


@pytest.fixture(scope="module")
def example():
    truth = data.chelsea()[60:188, 100:244]
    kernel = camera_shake(np.random.RandomState(1), 17)
    return truth, blurred(truth / 255.0, kernel), kernel


def psnr_of(method, truth, blurry, kernel, sigma=None):
    restorer = Restorer(build_network(METHODS[method].network_G))
    return quality(truth, to_8bit(restorer.restore(blurry, kernel, sigma).image)).psnr


@pytest.mark.parametrize("percent", [1, 3, 5])
@pytest.mark.parametrize("method", ["Wiener", "Richardson-Lucy", "Hyper-Laplacian"])
def test_better_than_the_blurry_input(example, method, percent):
    truth, clean, kernel = example
    noisy = with_noise(clean, percent / 100, seed_of("test", percent)) / np.float32(255)
    assert psnr_of(method, truth, noisy, kernel, percent / 100) > quality(truth, to_8bit(noisy)).psnr + 1


def test_the_blurry_input_and_x0(example):
    truth, clean, kernel = example
    noisy = with_noise(clean, 0.01, 0) / np.float32(255)
    assert psnr_of("Blurry", truth, noisy, kernel) == pytest.approx(quality(truth, to_8bit(noisy)).psnr)
    assert psnr_of("x0", truth, noisy, kernel) > psnr_of("Blurry", truth, noisy, kernel)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kernel_size", [(9, 9), (8, 6), (1, 7), (1, 1)])
def test_every_kernel_shape_and_batch(method, kernel_size):
    network = build_network(METHODS[method].network_G)
    assert not network.needs_weights
    y, k = torch.rand(2, 3, 33, 40), torch.rand(2, *kernel_size) + 0.1
    k /= k.sum((1, 2), keepdim=True)
    restored = network(y, k, sigma=torch.tensor([0.01]))
    assert restored.shape == y.shape
    assert restored.isfinite().all()
    torch.testing.assert_close(restored[1:], network(y[1:], k[1:], sigma=torch.tensor([0.01])), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["Blurry", "x0", "Wiener", "Richardson-Lucy", "Hyper-Laplacian"])
def test_a_kernel_for_each_channel(method):
    """Each channel is restored with its own kernel, as if it were alone."""
    network, sigma = build_network(METHODS[method].network_G), torch.tensor([0.01])
    y, k = torch.rand(2, 3, 33, 40), torch.rand(2, 3, 7, 5) + 0.1
    k /= k.sum((-2, -1), keepdim=True)
    restored = network(y, k, sigma=sigma)
    assert restored.shape == y.shape
    for c in range(3):
        alone = network(y[:, c : c + 1], k[:, c], sigma=sigma)
        torch.testing.assert_close(restored[:, c : c + 1], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["x0", "Wiener", "Richardson-Lucy", "Hyper-Laplacian"])
def test_the_border_does_not_ring(example, method):
    """The error near the border is of the order of the error inside."""
    truth, clean, kernel = example
    noisy = with_noise(clean, 0.01, 1) / np.float32(255)
    restored = Restorer(build_network(METHODS[method].network_G)).restore(noisy, kernel, 0.01).image
    error = np.square(restored - truth / 255.0)
    inside = error[20:-20, 20:-20].mean()
    border = (error.sum() - error[20:-20, 20:-20].sum()) / (error.size - error[20:-20, 20:-20].size)
    assert border < 4 * inside


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.03, 0.05])
def test_noise_estimate(example, sigma):
    _, clean, _ = example
    noisy = clean + sigma * np.random.RandomState(0).standard_normal(clean.shape)
    estimate = estimate_noise(torch.from_numpy(noisy).permute(2, 0, 1)[None])
    assert estimate.shape == (1,)
    assert estimate.item() == pytest.approx(sigma, rel=0.1, abs=0.004)


def test_noise_estimate_leaves_out_masked_pixels():
    random = np.random.RandomState(0)
    noisy = torch.from_numpy(0.5 + 0.02 * random.standard_normal((2, 3, 65, 72)))
    mask = torch.from_numpy(random.uniform(size=(2, 1, 65, 72)) > 0.2).double()
    mask[1] = 0
    for dead in (0.0, 7.0):
        estimate = estimate_noise(torch.where(mask > 0, noisy, dead), mask)
        assert estimate.tolist() == [pytest.approx(0.02, rel=0.05), 0.0]
    assert estimate_noise(torch.where(mask > 0, noisy, 7.0))[0] > 0.05


@pytest.mark.parametrize(("sigma", "value"), [(0.0, 1), (0.01, 1), (0.02, 4), (0.5, 16)])
def test_parameters_between_noise_levels(sigma, value):
    assert at_noise_level({0.01: 1.0, 0.04: 16.0}, sigma) == pytest.approx(value)


@pytest.mark.parametrize("p", [0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("weight", [0.01, 0.1])
def test_shrink_minimises(p, weight):
    v = torch.linspace(-1, 1, 41)
    candidates = torch.linspace(-1.2, 1.2, 24001)
    energy = weight * candidates.abs() ** p + (candidates - v[:, None]).square() / 2
    best = energy.min(1).values
    w = shrink(v, weight, p, iterations=30)
    own = weight * w.abs() ** p * (w != 0) + (w - v).square() / 2
    assert (own - best).max() < 1e-4
