"""What a camera does between the blurred light and the file: noise, Bayer pattern, tone curve, JPEG.

Images are float32 (H, W, C), C = 3 or 1. Light is linear, and 1 is where the sensor is full; the values of a file are
light after the tone curve.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import affine_transform, center_of_mass, gaussian_filter

from codes.data.images import to_8bit
from codes.data.patch_options import Camera

# The exponent of sRGB's tone curve, and the constant that makes such curves linear near black (IEC 61966-2-1).
SRGB = 2.4
TOE = 0.055
# Squares of this many pixels are compressed together by JPEG with colours at half resolution.
JPEG_GRID = 16


def _joint(exponent: float) -> tuple[float, float]:
    """Light below which a tone curve is linear, and the slope there, for a curve without a step or a bend."""
    value = TOE / (exponent - 1)
    light = ((value + TOE) / (1 + TOE)) ** exponent
    return light, value / light


def encoded(light: np.ndarray, exponent: float = SRGB) -> np.ndarray:
    """The values of a file for linear light, by a tone curve of sRGB's form; negative light stays on the line."""
    joint, slope = _joint(exponent)
    curve = (1 + TOE) * np.maximum(light, joint) ** (1 / exponent) - TOE
    return np.where(light < joint, slope * light, curve).astype(np.float32)


def decoded(values: np.ndarray, exponent: float = SRGB) -> np.ndarray:
    """Linear light for the values of a file: the inverse of `encoded`."""
    joint, slope = _joint(exponent)
    curve = ((np.maximum(values, slope * joint) + TOE) / (1 + TOE)) ** exponent
    return np.where(values < slope * joint, values / slope, curve).astype(np.float32)


def encode_jpeg(image: np.ndarray, quality: int, half_colour: bool = True) -> bytes:
    """A JPEG file of an image uint8. half_colour: colours at half the resolution (4:2:0), else at the full one."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if half_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), settings)[1].tobytes()


def through_jpeg(image: np.ndarray, quality: int, half_colour: bool) -> np.ndarray:
    """An image in [0, 1] as it comes out of a JPEG file. Equal channels stay equal."""
    grey = (image == image[..., :1]).all()
    data = encode_jpeg(to_8bit(image[..., :1] if grey else image), quality, half_colour)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    pixels = pixels[..., None] if grey else pixels[..., ::-1]
    return np.broadcast_to(pixels, image.shape).astype(np.float32) / 255


def through_bayer(light: np.ndarray) -> np.ndarray:
    """Light in [0, 1] (H, W, 3) of which each pixel recorded one colour (16 bit), the others interpolated."""
    integers = np.rint(light * 65535).astype(np.uint16)
    mosaic = integers[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = integers[::2, ::2, 0], integers[1::2, 1::2, 2]
    return cv2.demosaicing(mosaic, cv2.COLOR_BayerRGGB2RGB_EA).astype(np.float32) / 65535


def grainy(noise: np.ndarray, width: float) -> np.ndarray:
    """White noise (H, W, C) of variance 1, smoothed by a Gaussian of standard deviation `width`, its variance kept."""
    impulse = np.zeros(33)
    impulse[16] = 1
    gain = np.square(gaussian_filter(impulse, width)).sum()  # along each axis
    return gaussian_filter(noise, (width, width, 0), mode="wrap") / gain


class Shot(NamedTuple):
    """How one image is recorded; None leaves a step out. The option file's keys of the same names have ranges.

    curve: exponent of the tone curve. shot_noise: part of the noise's variance that is proportional to the light.
    grain: width of the noise's grains. bayer: one colour per pixel. jpeg: quality. half_colour: see `encode_jpeg`.
    offset: rows and columns by which the patterns of Bayer and JPEG begin outside the image. highlights: the image has
    some, without a mask. wrong_kernel: the kernel is not known exactly. decoded: sRGB's curve is undone afterwards.
    """

    curve: float | None
    shot_noise: float | None
    grain: float | None
    bayer: bool
    jpeg: int | None
    half_colour: bool
    offset: tuple[int, int]
    highlights: bool
    wrong_kernel: bool
    decoded: bool

    def changes(self) -> bool:
        """False if the image is recorded as in the test sets: white noise is added to the values."""
        drawn = (self.curve, self.shot_noise, self.grain, self.jpeg)
        return self.bayer or self.highlights or self.wrong_kernel or any(part is not None for part in drawn)

    def recorded(self, light: np.ndarray, noise: np.ndarray, sigma: float) -> np.ndarray:
        """The values (H, W, C) of the file, in [0, 1].

        light: (H, W, C), linear if there is a tone curve; what is brighter than 1 is clipped. noise: white noise of
        variance 1. sigma: the noise's standard deviation in a file's values of middle grey.
        """
        grey, slope = np.float32(0.5), 1.0
        if self.curve is not None:
            step = 1e-3
            grey, below = decoded(np.array([0.5, 0.5 - step]), self.curve)
            slope = (grey - below) / step
        if self.grain is not None:
            noise = grainy(noise, self.grain)
        part = self.shot_noise or 0.0
        level = slope * sigma * np.sqrt(1 - part + part * np.maximum(light, 0) / grey)
        light = np.clip(light + level * noise, 0, 1)
        if self.bayer:
            light = on_grid(through_bayer, light, self.offset)
        values = light if self.curve is None else encoded(light, self.curve)
        if self.jpeg is not None:
            values = on_grid(lambda image: through_jpeg(image, self.jpeg, self.half_colour), values, self.offset)
        return values.astype(np.float32)


def draw_shot(random: np.random.RandomState, options: Camera, grey: bool, masked: bool) -> Shot:
    """How a patch is recorded; each step by a random number of its own. grey: no Bayer pattern."""

    def happens(share: float) -> bool:
        return bool(random.uniform() < share)

    def drawn(share: float, limits: list[float]) -> float | None:
        here, value = happens(share), random.uniform(*limits)
        return value if here else None

    quality = drawn(options.jpeg, options.jpeg_quality)
    curve = drawn(options.curve, options.curve_exponent)
    return Shot(
        curve=curve,
        # Without it, a tone curve would make the dark parts far noisier than those of photographs.
        shot_noise=drawn(options.shot_noise if curve is None else 1.0, options.shot_noise_part),
        grain=drawn(options.grain, options.grain_width),
        bayer=happens(options.bayer) and not grey,
        jpeg=None if quality is None else round(quality),
        half_colour=happens(options.half_colour),
        offset=(random.randint(JPEG_GRID), random.randint(JPEG_GRID)),
        highlights=happens(options.highlights) and not masked,
        wrong_kernel=happens(options.wrong_kernel),
        decoded=happens(options.decoded) and curve is not None,
    )


def on_grid(step: Callable[[np.ndarray], np.ndarray], image: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """A step that works on squares of pixels, the first of which begin `offset` above and left of the image."""
    rows, columns = offset
    height, width = image.shape[:2]
    below, right = -(height + rows) % JPEG_GRID, -(width + columns) % JPEG_GRID
    padded = np.pad(image, ((rows, below), (columns, right), (0, 0)), "edge")
    return step(padded)[rows : rows + height, columns : columns + width]


def wrong_kernel(random: np.random.RandomState, kernel: np.ndarray, options: Camera) -> np.ndarray:
    """A kernel (h, w) as somebody might have measured it: shifted, scaled, smoothed, noisy, without faint parts."""
    scale = random.uniform(*options.kernel_scale)
    shift = random.uniform(*options.kernel_shift) * np.array(random.choice([-1, 1], 2))
    centre = np.array(center_of_mass(kernel))
    kernel = affine_transform(kernel, np.full(2, 1 / scale), centre - (centre + shift) / scale, order=1)
    kernel = gaussian_filter(kernel, random.uniform(*options.kernel_smoothing), mode="constant")
    noise = random.uniform(*options.kernel_noise) * random.standard_normal(kernel.shape)
    kernel = np.maximum(kernel + kernel.max() * noise, 0)
    kernel[kernel < random.uniform(*options.kernel_cut) * kernel.max()] = 0
    return kernel / kernel.sum()
