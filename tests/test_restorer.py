"""The Restorer: layout, precision, memory, tiles, self-ensemble, masks, networks of any kind, devices."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codes.data.degradation import blurred, with_noise
from codes.data.kernel_generator import camera_shake
from codes.data.preparation import quickstart
from codes.inference import restorer, tiling
from codes.inference.gaps import fill_gaps
from codes.inference.restorer import Restorer
from codes.models.factory import build_preset
from codes.models.network import Network
from codes.models.weights import load_weights
from codes.utils import memory
from codes.utils.devices import choose_device
from codes.utils.errors import UserError
from codes.utils.files import ROOT
from tests.conftest import small_network

GREY = np.full((40, 40, 3), 0.5, np.float32)
BOX = np.full((3, 3), 1 / 9)


@pytest.fixture(scope="module")
def tiny() -> Network:
    network = build_preset("tiny")
    load_weights(network, ROOT / "Models" / "dsdnet_tiny.safetensors")
    return network


@pytest.fixture(scope="module")
def photograph() -> tuple[np.ndarray, np.ndarray]:
    """A blurry photograph (192, 256, 3) from 0 to 1 with its kernel (7, 7)."""
    kernel = camera_shake(np.random.RandomState(2), 7)
    blurry = with_noise(blurred(quickstart()[0].image / 255, kernel), 0.01, seed=0) / np.float32(255)
    return blurry[:192, :256], kernel


def stages(network: Network, image: np.ndarray, kernel: np.ndarray, mask=None, **keys) -> list[np.ndarray]:
    """x0 and the image of every stage."""
    return Restorer(network, **keys).restore(image, kernel, mask=mask, stages=True).stages


class Toy(Network):
    """The least that a network has to define."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, blurry, kernel):
        self.sizes.append(tuple(blurry.shape[-2:]))
        return 2 * blurry


def test_the_layout_changes_nothing(tiny, photograph):
    blurry, kernel = photograph[0][:48, :56], photograph[1]
    restored = Restorer(copy.deepcopy(tiny)).restore(blurry, kernel).image
    y, k = torch.from_numpy(blurry).permute(2, 0, 1)[None].contiguous(), torch.from_numpy(kernel).float()[None]
    with torch.inference_mode():
        np.testing.assert_allclose(restored, tiny(y, k)[0].permute(1, 2, 0), atol=2e-5)


def test_bfloat16_is_close_to_float32_but_not_the_same(tiny, photograph):
    part, kernel = photograph[0][:96, :112], photograph[1]
    restorers = (Restorer(copy.deepcopy(tiny), precision=name) for name in ("float32", "bfloat16"))
    images = [one.restore(part, kernel).image for one in restorers]
    assert 0 < np.abs(images[1] - images[0]).mean() < 1e-3
    assert images[1].dtype == np.float32


def test_a_network_of_one_channel(random):
    network = small_network(in_nc=1, out_nc=1)
    image, kernels = random.uniform(size=(32, 40, 3)).astype(np.float32), np.stack([camera_shake(random, 5)] * 3, 2)
    one = Restorer(network)
    colours = one.restore(image, kernels).image
    for channel in range(3):
        alone = one.restore(image[..., channel : channel + 1], kernels[..., channel]).image
        np.testing.assert_allclose(colours[..., channel : channel + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_network_of_other_channels_refuses_colour(channels):
    with pytest.raises(UserError, match=f"in_nc is {channels}, but the image has 3 channels"):
        Restorer(small_network(in_nc=channels, out_nc=channels)).restore(GREY, BOX)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "half"}, "precision 'half': possible are float32, tf32, bfloat16, float16"),
        *(({"precision": precision}, f"{precision} is for GPUs") for precision in ("float16", "tf32")),
        ({"tile": 176.5}, "tile 176.5: possible are auto, off and a whole number"),
        ({"tile": 0}, "tile 0: possible are"),
        ({"gigabytes": float("nan")}, "memory nan"),
        ({"gigabytes": -1}, "memory -1"),
    ],
)
def test_impossible_settings(options, message):
    with pytest.raises(UserError, match=message):
        Restorer(Toy(), **options)


def test_a_toy_network_restores_whole_and_in_tiles(photograph, monkeypatch):
    blurry, kernel = photograph
    toy = Toy()
    assert Restorer(toy, tile="auto").stages == 1
    x0, image = stages(toy, blurry, kernel, tile="auto")
    np.testing.assert_array_equal(x0, blurry)
    np.testing.assert_array_equal(image, 2 * blurry)
    assert toy.sizes == [(192, 256)]
    monkeypatch.setattr(restorer, "budget", lambda *_: 1e5)
    np.testing.assert_allclose(stages(toy, blurry, kernel, tile="auto", ensemble=True)[1], 2 * blurry, atol=1e-6)
    assert max(map(max, toy.sizes[1:])) == tiling.smallest_side(tiling.tile_overlap(torch.empty(7, 7))) < 192
    with pytest.raises(UserError, match="mask: this Toy does not use masks"):
        Restorer(toy).restore(blurry, kernel, mask=np.ones((192, 256)))


@settings(deadline=None, max_examples=60)
@given(size=st.tuples(st.integers(1, 900), st.integers(1, 900)), overlap=st.integers(48, 200), more=st.integers(0, 20))
def test_tiles_cover_the_image_and_their_weights_sum_to_one(size, overlap, more):
    side = tiling.smallest_side(overlap) + tiling.MULTIPLE * more
    tiles = tiling.plan(size, side, overlap)
    ones = tiling.blend(lambda tile: [torch.ones(1, 1, *tile.of(torch.empty(size)).shape)], tiles, size)[0]
    torch.testing.assert_close(ones, torch.ones(1, 1, *size))
    for tile in tiles:
        weights = tile.weight_of_rows[:, 0], tile.weight_of_columns
        for span, weight, length in zip((tile.rows, tile.columns), weights, size, strict=True):
            assert span.start % tiling.MULTIPLE == 0
            assert span.stop - span.start <= side
            assert not (span.start and weight[: tiling.DISCARDED].any())
            assert not (span.stop < length and weight[-tiling.DISCARDED :].any())
    with pytest.raises(ValueError, match="a tile of"):
        tiling.plan(size, side + 1, overlap)


def test_tiles_agree_with_the_whole(tiny, photograph, monkeypatch):
    whole, tiled = (stages(tiny, *photograph, tile=tile) for tile in ("off", 176))
    assert len(whole) == len(tiled) == tiny.n_iter + 1
    np.testing.assert_allclose(tiled[0], whole[0], atol=1e-6)
    difference = 255 * np.abs(tiled[-1] - whole[-1])
    assert 0 < difference.max() < 3
    assert difference.mean() < 0.1
    monkeypatch.setattr(restorer, "X0_BYTES", 1e12)  # x0 of the whole image does not fit
    inside = np.abs(stages(tiny, *photograph, tile=176)[0] - whole[0])[20:-20, 20:-20]
    assert 0 < 255 * inside.mean() < 1


def test_tiles_are_chosen_by_the_memory(photograph, monkeypatch):
    """Enough memory for the image, but not for the images of its stages, means tiles for the latter only."""
    network, sizes = small_network(), []

    def forward(y, k, stages=False, **_):
        sizes.append(tuple(y.shape[-2:]))
        return [y] * network.n_iter if stages else y

    monkeypatch.setattr(network, "forward", forward)
    needed = network.bytes_per_pixel + restorer._HELD_BYTES
    monkeypatch.setattr(restorer, "budget", lambda *_: needed * 400 * 400)
    large = np.full((400, 400, 3), 0.5, np.float32)
    for stages, whole in ((False, True), (True, False)):
        sizes.clear()
        Restorer(network, tile="auto").restore(large, BOX, stages=stages)
        assert (sizes == [(400, 400)]) == whole


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "is not enough"),
        *(
            (RuntimeError(f"CUDA error: {text}"), "memory is not enough")
            for text in ("out of memory", "CUFFT_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")
        ),
        (MemoryError(), "memory is not enough"),
        (RuntimeError("a defect"), None),
    ],
)
def test_too_little_memory(monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    network = small_network()
    monkeypatch.setattr(network, "forward", fail)
    with pytest.raises(UserError if message else RuntimeError, match=message or "a defect"):
        Restorer(network).restore(GREY, BOX)


def test_the_limit_of_this_process(monkeypatch):
    for module in (restorer, memory):
        monkeypatch.setattr(module, "used", lambda device: 600_000_000)
    limited = Restorer(small_network(), tile="auto", gigabytes=0.6)
    with pytest.raises(UserError, match=r"memory 0.6 GB: this image and kernel need 0.7 GB even in the smallest tiles"):
        limited.restore(GREY, BOX)
    monkeypatch.setattr(memory, "used", lambda device: 2_000_000_000)  # memory that earlier images left does not count
    Restorer(small_network(), tile="auto", gigabytes=1.0).restore(GREY, BOX)


def test_the_ensemble_commutes_with_flips_and_turns(random):
    image, kernel = random.uniform(size=(40, 48, 3)).astype(np.float32), camera_shake(random, 7)
    mask = (random.uniform(size=(40, 48)) > 0.02).astype(np.float32)
    mean = Restorer(small_network(), ensemble=True)
    restored = mean.restore(image, kernel, mask=mask).image
    for change in (np.rot90, np.fliplr):
        other = mean.restore(change(image), change(kernel), mask=change(mask).copy()).image
        np.testing.assert_allclose(change(restored), other, atol=1e-4)


@pytest.mark.parametrize("tile", ["off", 176])
def test_masked_pixels_do_not_matter(random, tile):
    """What a masked pixel shows changes nothing, in x0 or in the stages."""
    network, kernel = small_network(), camera_shake(random, 7)
    image = random.uniform(0, 0.9, size=(40, 200, 3)).astype(np.float32)
    mask = (random.uniform(size=(40, 200)) > 0.05).astype(np.float32)
    other = np.where(mask[..., None] > 0, image, 0.5).astype(np.float32)
    one, two = (stages(network, x, kernel, mask, tile=tile) for x in (image, other))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.allclose(one[-1], stages(network, image, kernel, tile=tile)[-1], atol=1e-3)


def test_gaps_are_filled_from_their_rim_and_clipped_values_stay():
    image = torch.full((1, 3, 40, 40), 0.25)
    image[..., 10:30, 10:30] = 0
    image[..., 35, 35] = 1
    mask = torch.ones(1, 1, 40, 40)
    mask[..., 10:30, 10:30] = mask[..., 35, 35] = 0
    expected = torch.full_like(image, 0.25)
    expected[..., 35, 35] = 1
    torch.testing.assert_close(fill_gaps(image, mask), expected)


@pytest.mark.parametrize(
    ("gpu_ids", "there", "devices"),
    [
        ("auto", 0, ["cpu", "cpu"]),
        ("auto", 1, ["cuda:0", "cuda:0"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ([], 2, ["cpu", "cpu"]),
        ([1, 0], 2, ["cuda:1", "cuda:0"]),
        ([2], 1, ["cpu", "cpu"]),
    ],
)
def test_the_device_of_each_process(monkeypatch, capsys, gpu_ids, there, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert [str(choose_device(gpu_ids, rank)) for rank in (0, 1)] == devices
    missing = "warning: gpu_ids: this machine has no GPU 2; running on the CPU\n"
    assert capsys.readouterr().err == (missing if gpu_ids == [2] else "")
