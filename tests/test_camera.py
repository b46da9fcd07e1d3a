"""What a camera adds to the training data: each step of codes/data/camera.py, its share and its range."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from skimage import data as skimage_data

from codes.data.camera import Shot, decoded, draw_shot, encode_jpeg, encoded, grainy, through_bayer, through_jpeg
from codes.data.degradation import blurred
from codes.data.images import to_8bit
from codes.data.patch_options import CAMERA_STEPS, Camera
from codes.data.patches import Request, Sample
from tests.test_training import batch_of, loss_of, patches_of, same_channels

PHOTOGRAPH = skimage_data.astronaut()[100:164, 200:272].astype(np.float32) / 255


def samples(data: Path, camera: dict, count: int = 4, noise: float = 0.0, **options) -> list[Sample]:
    patches = patches_of(data, camera=camera, noise=[noise, noise], real_border=0.0, **options)
    return [patches[Request(number, 32)] for number in range(count)]


def exact(sharp: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """A patch blurred by a kernel."""
    image = blurred(sharp.permute(1, 2, 0).numpy(), kernel.double().numpy())
    return torch.from_numpy(image).permute(2, 0, 1).float()


def shot(**steps) -> Shot:
    """A camera that does these steps only."""
    return draw_shot(np.random.RandomState(0), Camera(), grey=False, masked=False)._replace(**steps)


@pytest.mark.parametrize("step", CAMERA_STEPS)
def test_each_step_has_its_share(data, step):
    """A share of a half changes some samples; the others are what they are without a camera, to the bit."""
    pairs = list(zip(samples(data, {}, 12, 0.02), samples(data, {step: 0.5}, 12, 0.02), strict=True))
    same = [all(map(torch.equal, plain[:5], other[:5])) for plain, other in pairs]
    assert set(same) == {True, False}
    for plain, other in pairs:
        torch.testing.assert_close(other.blurry - other.noise, exact(other.sharp, other.kernel), atol=1e-5, rtol=0)
        assert torch.equal(plain.sharp, other.sharp) or step == "highlights"
        assert torch.equal(plain.kernel, other.kernel) or step == "wrong_kernel"
        assert other.mask is None


def test_the_random_stream_of_the_camera_is_frozen():
    options = Camera(**dict.fromkeys(CAMERA_STEPS, 0.5))
    drawn = [draw_shot(np.random.RandomState(seed), options, grey=False, masked=False) for seed in range(3)]
    found = [(s.jpeg, s.curve and round(s.curve, 3), s.offset) for s in drawn]
    assert found == [(None, None, (6, 7)), (87, 2.242, (14, 5)), (61, None, (12, 4))]


def test_a_tone_curve_comes_with_shot_noise():
    for curve in (0.0, 1.0):
        drawn = draw_shot(np.random.RandomState(0), Camera(curve=curve), grey=False, masked=False)
        assert (drawn.shot_noise is not None) == (curve == 1)


def test_ranges_have_an_order():
    with pytest.raises(ValidationError, match="the smaller number comes first"):
        Camera(jpeg_quality=[98, 60])
    with pytest.raises(ValidationError, match="less than or equal to 100"):
        Camera(jpeg_quality=[60, 101])


def test_tone_curves():
    values = np.linspace(0, 3, 301)
    for exponent in (2.0, 2.4, 2.8):
        np.testing.assert_allclose(encoded(decoded(values, exponent), exponent), values, atol=2e-6)
        assert encoded(np.ones(1), exponent) == pytest.approx(1)
        assert np.ptp(np.diff(decoded(values, exponent), 2)) < 0.002, "a step or a bend"
    # IEC 61966-2-1: 0.04045 is where sRGB's line ends.
    np.testing.assert_allclose(decoded(np.array([0.02, 0.5, 0.9])), [0.02 / 12.92, 0.214041, 0.787412], atol=1e-6)


def test_blur_in_linear_light(data):
    """The tone curve comes after the blur, so that only its inverse gives what the blur made."""
    for sample in samples(data, {"curve": 1.0, "curve_exponent": [2.4, 2.4]}):
        light = torch.from_numpy(decoded(sample.sharp.numpy()))
        found = torch.from_numpy(decoded(sample.blurry.numpy()))
        torch.testing.assert_close(found, exact(light, sample.kernel), atol=1e-5, rtol=0)
        assert float(sample.noise.abs().max()) > 0.01


def test_trained_in_linear_light(data):
    """Patches with a tone curve, sRGB's here, whose inverse leaves the model exact."""
    curve = {"curve": 1.0, "curve_exponent": [2.4, 2.4]}
    pairs = list(zip(samples(data, curve), samples(data, {**curve, "decoded": 1.0}), strict=True))
    for values, light in pairs:
        torch.testing.assert_close(light.sharp, torch.from_numpy(decoded(values.sharp.numpy())))
        torch.testing.assert_close(light.blurry, torch.from_numpy(decoded(values.blurry.numpy())))
        assert float(light.noise.abs().max()) < 1e-5 < 0.01 < float(values.noise.abs().max())
    assert torch.equal(*(samples(data, options, 1)[0].blurry for options in ({}, {"decoded": 1.0})))


def test_jpeg(data):
    """As another library reads it; the lower the quality, the larger the error; grey stays grey."""
    image = to_8bit(PHOTOGRAPH)
    read = np.asarray(Image.open(io.BytesIO(encode_jpeg(image, 80, half_colour=True))))
    assert np.abs(through_jpeg(PHOTOGRAPH, 80, True) * 255 - read).max() <= 2
    assert Image.open(io.BytesIO(encode_jpeg(image[..., :1], 80, True))).mode == "L"
    error = {
        (quality, half): np.square(through_jpeg(PHOTOGRAPH, quality, half) - PHOTOGRAPH).mean()
        for quality in (60, 98)
        for half in (True, False)
    }
    assert error[60, True] > error[60, False] > error[98, True] > error[98, False]
    (sample,) = samples(data, {"jpeg": 1.0}, 1, grey=1.0)
    assert same_channels(sample.blurry)
    assert float(sample.noise.abs().max()) > 1 / 255
    low, high = (samples(data, {"jpeg": 1.0, "jpeg_quality": [q, q]}, 1)[0].noise.std() for q in (40, 98))
    assert low > 2 * high


def test_blocks_of_jpeg_begin_anywhere():
    """The squares of 8 pixels, with steps between them, follow the offset."""
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None].repeat(48, 0).repeat(3, 2)
    for offset in (0, 3, 5):
        image = shot(jpeg=1, offset=(0, offset)).recorded(ramp, np.zeros((48, 64, 3)), 0.0)
        steps = np.flatnonzero(np.abs(np.diff(image[0, :, 1])) > 0.02) + 1
        assert len(steps) > 3
        assert set((steps + offset) % 8) == {0}


def test_shot_noise_grows_with_the_light(random):
    noise = random.standard_normal((64, 64, 3))
    dark, middle, bright = (
        (shot(shot_noise=1.0).recorded(np.full((64, 64, 3), light), noise, 0.01) - light).std()
        for light in (0.125, 0.5, 0.9)
    )
    assert middle == pytest.approx(0.01, rel=0.03)
    assert (dark / middle, bright / middle) == pytest.approx((0.5, 1.8**0.5), rel=0.03)
    # With a tone curve sigma is still the standard deviation at middle grey.
    grey = decoded(np.full((64, 64, 3), 0.5))
    assert (shot(curve=2.4).recorded(grey, noise, 0.01) - 0.5).std() == pytest.approx(0.01, rel=0.04)


def test_grain_is_correlated_noise_of_the_same_level(random):
    noise = random.standard_normal((128, 128, 3))
    for width, correlation in ((0.3, 0.0), (0.9, 0.7)):
        grains = grainy(noise, width)
        assert grains.std() == pytest.approx(1, rel=0.03)
        assert (grains[1:] * grains[:-1]).mean() == pytest.approx(correlation, abs=0.1)


def test_demosaicing(data, random):
    """Each pixel keeps the one colour that it recorded; noise gets correlated; grey cameras have no such pattern."""
    seen = through_bayer(PHOTOGRAPH)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        inside = (slice(2 + row, -2, 2), slice(2 + column, -2, 2), channel)
        np.testing.assert_allclose(seen[inside], PHOTOGRAPH[inside], atol=1e-4)
    assert np.abs(seen - PHOTOGRAPH).mean() > 0.005
    noise = shot(bayer=True).recorded(np.full((64, 64, 3), 0.5), random.standard_normal((64, 64, 3)), 0.05) - 0.5
    assert (noise[1:] * noise[:-1]).mean() > 0.2 * noise.var()
    (grey,) = samples(data, {"bayer": 1.0}, 1, grey=1.0)
    torch.testing.assert_close(grey.blurry, exact(grey.sharp, grey.kernel), atol=1e-5, rtol=0)


def test_highlights_are_clipped_without_a_mask(data):
    """Where the sharp patch is brighter than white, the result may be anything from white upwards."""
    bright = [sample for sample in samples(data, {"highlights": 1.0}, 12) if (sample.sharp > 1).any()]
    assert len(bright) > 3
    for sample in bright:
        expected = exact(sample.sharp, sample.kernel).clamp(max=1)
        torch.testing.assert_close(sample.blurry, expected, atol=1e-5, rtol=0)
    batch = batch_of(data, count=12, camera={"highlights": 1.0})
    assert batch.mask is None
    only_pixels = {"pixel_criterion": "l1", "fft_weight": 0.0, "reblur_weight": 0.0, "stage_weights": [0.0, 1.0]}
    for x in (batch.sharp.clamp(max=1), batch.sharp + (batch.sharp > 1)):
        assert float(loss_of(data, [x, x], batch, **only_pixels)[0]) == 0
    assert float(loss_of(data, [batch.sharp - 2] * 2, batch, **only_pixels)[0]) > 0.5
    masked = batch_of(data, count=12, masks=1.0, camera={"highlights": 1.0})
    assert torch.equal(masked.sharp, batch_of(data, count=12, masks=1.0).sharp)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("shift", [0.5, 0.5]),
        ("scale", [1.08, 1.08]),
        ("smoothing", [0.6, 0.6]),
        ("noise", [0.03, 0.03]),
        ("cut", [0.1, 0.1]),
    ],
)
def test_the_network_gets_a_wrong_kernel(data, key, values):
    """The image is blurred with the right one."""
    exactly = {"kernel_shift": [0, 0], "kernel_scale": [1, 1], "kernel_smoothing": [0, 0], "kernel_noise": [0, 0]}
    wrong = {"wrong_kernel": 1.0, **exactly, "kernel_cut": [0, 0]}
    kernels = {"camera_shake": 0.0, "gaussian": 1.0, "disk": 0.0}
    (plain,), (same,) = samples(data, {}, 1, kernels=kernels), samples(data, wrong, 1, kernels=kernels)
    torch.testing.assert_close(same.kernel, plain.kernel, atol=1e-6, rtol=0)
    (other,) = samples(data, {**wrong, f"kernel_{key}": values}, 1, kernels=kernels)
    torch.testing.assert_close(other.blurry, plain.blurry, atol=1e-5, rtol=0)
    assert float(other.kernel.sum()) == pytest.approx(1, abs=1e-5)
    assert float(other.kernel.min()) >= 0
    assert float((other.kernel - plain.kernel).abs().sum()) > 0.02
    side = torch.arange(len(plain.kernel)) - len(plain.kernel) // 2
    centres, widths = [], []
    for kernel in (plain.kernel, other.kernel):
        rows = kernel.sum(1)
        centres.append(float((rows * side).sum()))
        widths.append(float((rows * side**2).sum()))
    found = abs(centres[1] - centres[0])
    assert found == pytest.approx(0.5, abs=0.1) if key == "shift" else found < 0.1
    if key in ("scale", "smoothing"):
        assert widths[1] > 1.05 * widths[0]
    if key == "cut":
        assert (other.kernel == 0).sum() > (plain.kernel == 0).sum()
