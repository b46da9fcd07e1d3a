"""Winograd's convolution against the direct one: results and gradients, at all kinds of sizes."""

import pytest
import torch
import torch.nn.functional as nnf

from codes.models.archs import winograd


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("batch", "channels", "filters", "height", "width"),
    [(2, 5, 3, 8, 8), (1, 4, 6, 9, 7), (2, 3, 2, 1, 13), (1, 2, 2, 2, 3), (3, 4, 4, 17, 22)],
)
def test_equals_the_direct_convolution(monkeypatch, batch, channels, filters, height, width):
    """With few tiles at a time, so that images have several slabs."""
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)
    monkeypatch.setattr(winograd, "TILES", 6)
    x = torch.randn(batch, channels, height, width).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, bias = torch.randn(filters, channels, 3, 3, requires_grad=True), torch.randn(filters, requires_grad=True)
    gradient = torch.randn(batch, filters, height, width)
    result, expected = winograd.conv3x3(x, weight, bias), nnf.conv2d(x, weight, bias, padding=1)
    assert type(result.grad_fn).__name__ == "_WinogradBackward"
    assert result.is_contiguous(memory_format=torch.channels_last)
    ours, direct = ((y, *torch.autograd.grad(y, (x, weight, bias), gradient)) for y in (result, expected))
    for one, other in zip(ours, direct, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))
    without = winograd.conv3x3(x, weight)
    torch.testing.assert_close(without, expected - bias[:, None, None], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("x", "filters", "taken"),
    [
        (torch.rand(1, 96, 24, 24), 96, True),
        (torch.rand(1, 96, 24, 24), 95, False),
        (torch.rand(2, 96, 12, 12), 96, False),
        (torch.rand(1, 96, 24, 24).double(), 96, False),
        (torch.rand(1, 96, 24, 24).bfloat16(), 96, False),
    ],
)
def test_only_where_it_pays(x, filters, taken):
    weight = torch.rand(filters, 96, 3, 3, dtype=x.dtype, requires_grad=True)
    result = winograd.conv3x3(x.contiguous(memory_format=torch.channels_last), weight)
    assert (type(result.grad_fn).__name__ == "_WinogradBackward") == taken
    assert type(winograd.conv3x3(x, weight).grad_fn).__name__ != "_WinogradBackward"  # channels-first


def test_neither_without_gradients_nor_with_several_threads(monkeypatch):
    x = torch.rand(1, 96, 24, 24).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(96, 96, 3, 3, requires_grad=True)
    monkeypatch.setattr(winograd, "_Winograd", None)  # would fail
    with torch.no_grad():
        winograd.conv3x3(x, weight)
    torch.set_num_threads(2)
    winograd.conv3x3(x, weight)
