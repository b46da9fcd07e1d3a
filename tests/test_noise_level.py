"""The noise level that codes/deblur.py gives a network."""

import cv2
import numpy as np
import pytest
from skimage import data

from codes.data.degradation import blurred
from codes.data.images import to_8bit
from codes.data.kernel_generator import camera_shake
from codes.inference.noise_level import compression, noise_level
from codes.restoration.call import deblur
from codes.restoration.masks import without_gaps
from codes.utils.errors import UserError

KERNEL = camera_shake(np.random.RandomState(1), 17)
BLURRY = blurred(data.astronaut()[:224, 100:324] / 255, KERNEL)


def noisy(sigma):
    return to_8bit(BLURRY + sigma * np.random.RandomState(0).standard_normal(BLURRY.shape))


def compressed(sigma, quality):
    _, file = cv2.imencode(".jpg", noisy(sigma), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(file, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("sigma", [0.005, 0.01, 0.03, 0.05])
def test_white_noise_is_measured(sigma):
    assert noise_level(noisy(sigma) / 255, KERNEL) == pytest.approx(sigma, rel=0.2)


def test_compression_raises_the_level_although_it_removes_the_finest_details():
    assert noise_level(compressed(0, 85) / 255, KERNEL) > 0.008
    assert noise_level(compressed(0.01, 85) / 255, KERNEL) > 0.012
    assert noise_level(compressed(0, 98) / 255, KERNEL) < 0.9 * noise_level(compressed(0, 85) / 255, KERNEL)


def test_compression_is_seen_wherever_the_image_was_cropped():
    for sigma, quality in ((0, 75), (0.01, 75), (0, 95), (0.01, 95)):
        assert compression(compressed(sigma, quality)[3:, 5:] / 255) > 0.3
    for sigma in (0, 0.005, 0.02):
        assert compression(noisy(sigma)[3:, 5:] / 255) < 0.15


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (48, 48), (1100, 49)])
def test_any_size_gives_a_level(size):
    image = np.random.RandomState(0).uniform(size=(*size, 3))
    assert 0.002 <= noise_level(image, np.ones((1, 1))) <= 0.1


def test_a_kernel_for_each_colour_and_a_mask(capsys):
    level = noise_level(noisy(0.02) / 255, np.stack([KERNEL] * 3, 2))
    assert level == pytest.approx(noise_level(noisy(0.02) / 255, KERNEL))
    damaged, valid = noisy(0.02) / 255, np.ones(BLURRY.shape[:2])
    damaged[50:140], valid[50:140] = 0, 0
    filled = without_gaps(damaged.astype(np.float32), valid)
    assert noise_level(filled, KERNEL, valid) == pytest.approx(0.02, rel=0.2)
    deblur(to_8bit(damaged[:, :64]), KERNEL, mask=valid[:, :64], orientation="as-is")
    stated = float(capsys.readouterr().err.split("noise of ")[1].split("%")[0])
    assert stated == pytest.approx(2, rel=0.2)


def test_a_noisy_compressed_photograph_is_restored_better_than_with_the_networks_own_estimate(capsys):
    blurry, truth = compressed(0.01, 85)[:160, :160], data.astronaut()[:160, 100:260]

    def error(**options):
        return np.mean((deblur(blurry, KERNEL, orientation="as-is", **options).astype(float) - truth) ** 2)

    automatic = error()
    assert "% of full scale (estimated)" in capsys.readouterr().err
    assert automatic < 0.6 * error(noise=0.2)  # about what the finest details show
    assert "noise of 0.20%\n" in capsys.readouterr().err
    assert automatic < 1.07 * min(error(noise=1), error(noise=2))


@pytest.mark.parametrize("noise", [-1, 101, float("nan"), "much", None])
def test_impossible_levels_are_refused(noise):
    with pytest.raises(UserError, match="'auto' or a percentage from 0 to 100"):
        deblur(noisy(0), KERNEL, noise=noise)
