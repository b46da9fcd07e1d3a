"""Blur kernels measured from photographs: from a sharp and a blurred picture of one scene, or from a point of light.

All kernels are in the convention of codes/test.py, a cross-correlation: blurred(p) = sum_u kernel(u) sharp(p + u), with
u = 0 at the centre. A point of light therefore shows the kernel rotated by 180 degrees.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
import torch
from scipy import ndimage
from scipy.signal.windows import tukey
from torch import Tensor

from codes.data.kernel_generator import disk
from codes.data.kernels import LARGEST, rotated, to_8bit_kernel
from codes.inference.gaps import CLIPPED
from codes.models.paper.blur import Blur, fast_length
from codes.restoration.image_files import Photo, write_photo
from codes.restoration.metadata import Metadata
from codes.restoration.pixels import as_integers, pixels_to_values
from codes.utils.errors import UserError
from codes.utils.files import write_atomic

# Formats of kernel files that keep more than 8 bits.
KERNEL_FORMATS = (".png", ".tif", ".tiff", ".npy", ".mat")
# If no size is given, kernels of up to this side are found.
LARGEST_FOUND = 127
# If no size is given, kernels of up to this fraction of the pictures' side are found.
MAX_KERNEL_FRACTION = 1 / 4
# Pixels added on every side of a kernel of a given size while its place is searched.
MARGIN = 4
# Pictures have to be at least this many times as large as the kernel.
MIN_IMAGE_PER_KERNEL = 2
# Side in pixels of the part of a pair that is used, the one with the most edges.
CROP_SIDE = 768
# For large kernels that part is larger: this many times the kernel's side.
CROP_PER_KERNEL = 6
# Weight of the values themselves next to their gradients. Gradients alone hardly show the low frequencies of a kernel.
VALUE_WEIGHT = 0.1
# Most iterations of the search for the kernel's place and size.
SEARCH_STEPS = 30
# Most iterations of the result.
STEPS = 70
# The iterations end when a kernel changes by less than this share of its sum.
TOLERANCE = 1e-4
# If fewer than this share of the gradients would remain, clipped pixels are kept.
MIN_USABLE_SHARE = 0.8
# Pixels of a smoothed kernel below this share of its maximum are noise.
FAINT = 0.05
# Separate pieces of a kernel below this share of its sum are noise.
SMALL = 0.02
# A kernel that explains less than this share of the blurred picture is doubtful.
DOUBTFUL = 0.9
# The pixels of a point are at least this many standard deviations above the background, after smoothing.
STANDS_OUT = 3
# Its brightest pixel is at least this many standard deviations above the background, after smoothing.
BRIGHTEST = 10
# Approximate side of a preview in pixels.
PREVIEW = 400


class Estimate(NamedTuple):
    """A kernel and how well it explains the blur.

    kernel: float64 (n, n), n odd, sum 1. shift: columns and rows; for a pair by how much the blurred picture is
    displaced against the sharp one, which the kernel does not contain; for a point from the given to the used centre.
    explained: for a pair, the share of the blurred picture's variance; for a point, the share of the light around it
    that is inside the kernel. psnr: dB, the blurred sharp picture against the blurred one; None for a point.
    warnings: why the kernel may be wrong.
    """

    kernel: np.ndarray
    shift: tuple[int, int]
    explained: float
    psnr: float | None
    warnings: list[str]


# --- from a pair


def from_pair(sharp: np.ndarray, blurry: np.ndarray, size: int | None = None) -> Estimate:
    """The kernel that turns a sharp picture into a blurred one of the same scene.

    sharp, blurry: (H, W) or (H, W, C), uint8, uint16 or float, of the same size. size: side of the kernel in pixels, an
    even one is made one longer; None: found, up to LARGEST_FOUND and MAX_KERNEL_FRACTION of the pictures' side. A shift
    by whole pixels and a difference of exposure for each channel are found, too. The kernel is the least-squares
    solution on gradients (and, with the weight VALUE_WEIGHT, on values) that is not negative. Raises UserError for
    pictures that cannot be used.
    """
    x, y, largest = _checked(sharp, blurry, size)
    searched = largest if size is None else largest + 2 * MARGIN
    shift = _displacement(x, y, searched)
    x, y = _overlap(x, y, shift)
    if min(x.shape[:2]) < MIN_IMAGE_PER_KERNEL * searched:
        raise UserError("the sharp and the blurred picture do not show the same; is one of them moved?")
    part = _busiest(y, max(CROP_SIDE, CROP_PER_KERNEL * searched))
    x, y = x[part], y[part]
    kernel = _least_squares(x, y, searched, SEARCH_STEPS)
    for steps in (SEARCH_STEPS, STEPS):
        x = x * _exposure(*_blurred_and_given(x, y, kernel))
        wanted = min(_extent(kernel), len(kernel)) if size is None else largest
        middle = _place(kernel, wanted)
        moved = tuple(len(kernel) // 2 - place for place in middle)
        shift = tuple(before + by for before, by in zip(shift, moved, strict=True))
        x, y = _overlap(x, y, moved)
        kernel = _least_squares(x, y, wanted, steps, _cut(kernel, middle, wanted))
    return _evaluate(x, y, kernel, (shift[1], shift[0]))


def _checked(sharp: np.ndarray, blurry: np.ndarray, size: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Both pictures as float32 (H, W, C) of equal shape, and the largest side that the kernel may have."""
    x, y = (pixels_to_values(i, f"the {n} picture").colours for i, n in ((sharp, "sharp"), (blurry, "blurred")))
    if x.shape[:2] != y.shape[:2]:
        sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (x, y))
        raise UserError(f"the sharp and the blurred picture have different sizes ({sizes}); crop them to the same part")
    if x.shape[2] != y.shape[2]:
        x, y = (image.mean(2, keepdims=True) for image in (x, y))
    least = min(x.shape[:2])
    largest = min(LARGEST_FOUND, (int(least * MAX_KERNEL_FRACTION) - 1) // 2 * 2 + 1) if size is None else _odd(size)
    if largest < 3 or least < MIN_IMAGE_PER_KERNEL * (largest + 2 * MARGIN if size else largest):
        needed = MIN_IMAGE_PER_KERNEL * ((largest if size else 3) + 2 * MARGIN)
        raise UserError(f"pictures of {needed} pixels a side or more are needed for this kernel, not {least}")
    if not all((image.std((0, 1)) > 1e-3).any() for image in (x, y)):
        raise UserError("one of the two pictures is empty: all its pixels are equal")
    return x, y, largest


def _odd(size: int) -> int:
    if not 3 <= size <= LARGEST:
        raise UserError(f"a kernel of {size} pixels: 3 to {LARGEST} are possible")
    return size // 2 * 2 + 1


def _least_squares(
    sharp: np.ndarray,
    blurry: np.ndarray,
    size: int,
    steps: int,
    start: np.ndarray | None = None,
    value_weight: float = VALUE_WEIGHT,
) -> np.ndarray:
    """The kernel (size, size), float64, sum 1, that turns one image (H, W, C) into the other one.

    It minimises sum w |D(Hx - y)|^2 and is not negative. D: see `_features`; w is 0 at clipped pixels and where H
    reaches beyond the image. Accelerated projected gradients with restarts (Beck and Teboulle 2009; O'Donoghue and
    Candes 2015). The sum is free during the iteration, because the exposure may differ.
    """
    x, y = _features(sharp, value_weight), _features(blurry, value_weight)
    rows, columns = (length - size + 1 for length in x.shape[-2:])
    inner = (slice(size // 2, size // 2 + rows), slice(size // 2, size // 2 + columns))
    weight = torch.from_numpy(_usable(sharp, blurry, size)[inner])
    shape = [fast_length(length) for length in x.shape[-2:]]
    spectrum = torch.fft.rfft2(x, s=shape)
    target = weight * y[(..., *inner)]

    def forward(kernel: Tensor) -> Tensor:
        product = torch.fft.rfft2(kernel, s=shape).conj() * spectrum
        return weight * torch.fft.irfft2(product, s=shape)[:, :rows, :columns]

    def adjoint(image: Tensor) -> Tensor:
        product = (torch.fft.rfft2(image, s=shape).conj() * spectrum).sum(0)
        return torch.fft.irfft2(product, s=shape)[:size, :size]

    bound = _largest_eigenvalue(lambda kernel: adjoint(forward(kernel)), size)
    kernel = torch.full((size, size), size**-2.0) if start is None else torch.from_numpy(start).float()
    ahead, pace = kernel, 1.0
    for _ in range(steps):
        step = (ahead - adjoint(forward(ahead) - target) / bound).clamp(min=0)
        change = step - kernel
        if ((ahead - step) * change).sum() > 0:
            pace = 1.0
        faster = (1 + math.sqrt(1 + 4 * pace**2)) / 2
        kernel, ahead, pace = step, step + (pace - 1) / faster * change, faster
        if change.abs().sum() < TOLERANCE * step.sum():
            break
    if not kernel.sum() > 0:
        raise UserError("no kernel explains the blurred picture; do both pictures show the same scene?")
    return (kernel.double() / kernel.double().sum()).numpy()


def _largest_eigenvalue(operator, size: int) -> float:
    """An upper bound of the largest eigenvalue of a symmetric operator on kernels, by the power method."""
    kernel = torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    for _ in range(12):
        kernel = operator(kernel / kernel.norm().clamp(min=1e-12))
    return max(1.1 * float(kernel.norm()), 1e-12)


def _features(image: np.ndarray, value_weight: float = VALUE_WEIGHT) -> Tensor:
    """Differences to the right and lower neighbours, and the weighted values: (H, W, C) -> (3C, H-1, W-1)."""
    x = torch.from_numpy(np.moveaxis(image - image.mean((0, 1)), 2, 0).copy())
    here = x[:, :-1, :-1]
    return torch.cat([x[:, :-1, 1:] - here, x[:, 1:, :-1] - here, value_weight * here])


def _usable(sharp: np.ndarray, blurry: np.ndarray, size: int) -> np.ndarray:
    """1 for gradients (H-1, W-1) that no clipped pixel of either picture changes, else 0; see MIN_USABLE_SHARE."""
    good, reached = blurry.max(2) < CLIPPED, ndimage.minimum_filter(sharp.max(2) < CLIPPED, size)
    for pixels in (good & reached, good):
        usable = pixels[:-1, :-1] & pixels[1:, :-1] & pixels[:-1, 1:]
        if usable.mean() >= MIN_USABLE_SHARE:
            return usable.astype(np.float32)
    return np.ones(usable.shape, np.float32)


def _displacement(x: np.ndarray, y: np.ndarray, size: int) -> tuple[int, int]:
    """Rows and columns by which y is displaced against x; the kernel has at most `size` pixels.

    The start is a regularised inverse filter; the window that holds most of its result is that of the kernel.
    """
    taper = np.outer(*(tukey(length - 1, 0.25) for length in x.shape[:2])).astype(np.float32)
    shape = [fast_length(length) for length in taper.shape]
    X, Y = (torch.fft.rfft2(_features(image) * torch.from_numpy(taper), s=shape) for image in (x, y))
    power = X.abs().square().sum(0)
    kernel = torch.fft.irfft2((Y.conj() * X).sum(0) / (power + 0.1 * power.mean()), s=shape)
    row, column = _place(torch.fft.fftshift(kernel).clamp(min=0).numpy(), size)
    return shape[0] // 2 - row, shape[1] // 2 - column


def _overlap(x: np.ndarray, y: np.ndarray, shift: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of two images that show the same if y is displaced by `shift` rows and columns against x."""
    pairs = list(zip(shift, x.shape[:2], strict=True))
    in_x, in_y = (tuple(slice(max(s * by, 0), n - max(-s * by, 0)) for by, n in pairs) for s in (-1, 1))
    return x[in_x], y[in_y]


def _busiest(image: np.ndarray, side: int) -> tuple[slice, slice]:
    """The window of an image (H, W, C), at most `side` pixels a side, that has the most edges."""
    edges = np.abs(np.diff(image, axis=0))[:, 1:].sum(2) + np.abs(np.diff(image, axis=1))[1:].sum(2)
    total = np.pad(edges.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    height, width = (min(side, length) for length in image.shape[:2])
    h, w = height - 1, width - 1
    sums = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    return slice(row, row + height), slice(column, column + width)


def _significant(kernel: np.ndarray) -> np.ndarray:
    """True for the pixels of a kernel that are not noise."""
    smooth = ndimage.gaussian_filter(kernel, 1, mode="constant")
    labels, count = ndimage.label(smooth > FAINT * smooth.max(), np.ones((3, 3)))
    mass = ndimage.sum_labels(kernel, labels, range(1, count + 1))
    return np.isin(labels, 1 + np.flatnonzero(mass >= min(SMALL * mass.sum(), mass.max())))


def _place(kernel: np.ndarray, size: int) -> tuple[int, int]:
    """Row and column of the middle of the window of `size` pixels that holds most of a kernel."""
    held = ndimage.uniform_filter(np.float64(kernel * _significant(kernel)), size, mode="constant")
    row, column = (indices.mean() for indices in np.nonzero(held >= 0.999 * held.max()))
    return round(row), round(column)


def _extent(kernel: np.ndarray) -> int:
    """The side of the square that holds a kernel, with two pixels around it."""
    return _odd(4 + max(int(np.ptp(indices)) + 1 for indices in np.nonzero(_significant(kernel))))


def _cut(kernel: np.ndarray, middle: tuple[int, int], size: int) -> np.ndarray:
    """The window of `size` pixels of a kernel, scaled to a sum of 1."""
    row, column = (place + size - size // 2 for place in middle)
    piece = np.pad(kernel, size)[row : row + size, column : column + size]
    return piece / piece.sum()


def _blurred_and_given(x: np.ndarray, y: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hx and y, (H', W', C), without the border that H cannot know."""
    blur = Blur(torch.from_numpy(kernel).float()[None], x.shape[:2])
    image = blur(torch.from_numpy(np.moveaxis(x, 2, 0)[None].copy()))[0].movedim(0, 2).numpy()
    margin = len(kernel) // 2
    inner = tuple(slice(margin, length - margin) for length in x.shape[:2])
    return image[inner], y[inner]


def _exposure(blurred: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How many times as bright, (C,), the second image (H, W, C) is; a constant offset does not count."""
    a, b = (image - image.mean((0, 1)) for image in (blurred, given))
    slope = (a * b).sum((0, 1)) / np.maximum((a * a).sum((0, 1)), 1e-12)
    return np.where(slope > 0, slope, 1).astype(np.float32)


def _evaluate(x: np.ndarray, y: np.ndarray, kernel: np.ndarray, shift: tuple[int, int]) -> Estimate:
    blurred, given = _blurred_and_given(x, y, kernel)
    blurred = blurred * _exposure(blurred, given)
    error = (given - blurred).var((0, 1)).mean()
    explained = float(1 - error / max(given.var((0, 1)).mean(), 1e-12))
    warnings = []
    if explained < DOUBTFUL:
        warnings.append("this kernel hardly explains the blur; do both pictures show the same scene, not turned?")
    return Estimate(kernel, shift, explained, float(-10 * np.log10(max(error, 1e-12))), warnings)


# --- from a point


def from_point(image: np.ndarray, column: int, row: int, size: int, point_size: float = 1) -> Estimate:
    """The kernel that a star, a distant lamp or a pinhole shows.

    image: (H, W) or (H, W, C), uint8, uint16 or float. column, row: about where the point is. size: side of the kernel,
    an even one is made one longer; the window is moved to the light, by up to half its size. The median around it, the
    background, is removed. point_size: diameter in pixels that the light would have in a sharp picture; the disc of one
    above 1 pixel is deconvolved. Raises UserError for a point beyond the image, a window that does not fit, a light
    that is larger than the kernel, or if no light stands out there.
    """
    pixels, size = pixels_to_values(image, white=1.0).colours, _odd(size)
    if point_size >= size:
        raise UserError(f"a light of {point_size:g} pixels does not fit into a kernel of {size} pixels")
    height, width = pixels.shape[:2]
    if not (0 <= column < width and 0 <= row < height):
        raise UserError(f"the point {column},{row} is not in the image of {width}x{height} pixels")
    if size > min(height, width):
        raise UserError(f"a kernel of {size} pixels is larger than the image of {width}x{height}")
    top, left = max(row - size, 0), max(column - size, 0)
    around = pixels[top : row + size + 1, left : column + size + 1]
    light, noise = _light(around, (row - top, column - left), size)
    smooth = ndimage.uniform_filter(light, 3)
    bright = ndimage.binary_dilation(smooth > STANDS_OUT * noise / 3, np.ones((3, 3)))
    near = np.zeros_like(bright)
    near[_window((row - top, column - left), size)] = True
    if not (near & (smooth > BRIGHTEST * noise / 3)).any():
        raise UserError(f"no light stands out from the background at {column},{row}; give the centre of a bright point")
    labels, _ = ndimage.label(bright, np.ones((3, 3)))
    light = light.clip(min=0) * bright
    # Only light in one piece with some in the window is the point's; the rest is noise or another light.
    own = light * np.isin(labels, np.unique(labels[near & bright]))
    middle = _place(own * near, size)
    place = (top + middle[0], left + middle[1])
    window = _window(place, size)
    half, sides = size // 2, zip(place, (height, width), strict=True)
    if not all(half <= at < side - half for at, side in sides):
        raise UserError(f"the window of {size} pixels reaches beyond the image; choose a smaller --size")
    kernel = rotated(_cut(own, middle, size))
    if point_size > 1:
        kernel = _without_disc(_cut(own, middle, 2 * size + 1 + 2 * math.ceil(point_size)), point_size, kernel)
    explained = float(own[_window(middle, size)].sum() / light.sum())
    warnings = []
    if clipped := np.count_nonzero(pixels[window].max(2) >= CLIPPED):
        warnings.append(f"{clipped} pixels of the point are clipped, so that the kernel is too faint there")
    if explained < DOUBTFUL:
        warnings.append("much of the light is outside; choose a larger size, or a point with nothing bright around it")
    return Estimate(kernel, (place[1] - column, place[0] - row), explained, None, warnings)


def _without_disc(light: np.ndarray, diameter: float, kernel: np.ndarray) -> np.ndarray:
    """The kernel that blurs a disc into the given light, both (n, n) with sum 1. kernel: the start of the search."""
    disc = disk(len(light), diameter / 2)
    # Half of the values, because a bright pixel would count as clipped.
    return _least_squares(disc[..., None] / 2, light[..., None] / 2, len(kernel), SEARCH_STEPS, kernel, value_weight=1)


def _window(middle: tuple[int, int], size: int) -> tuple[slice, slice]:
    return tuple(slice(max(place - size // 2, 0), max(place + size // 2 + 1, 0)) for place in middle)


def _light(around: np.ndarray, middle: tuple[int, int], size: int) -> tuple[np.ndarray, float]:
    """The mean of the channels above the background (H, W), float64, and the standard deviation of its noise.

    Background and noise are those of the pixels outside the window (medians); of all pixels if there are few.
    """
    outside = np.ones(around.shape[:2], bool)
    outside[_window(middle, size)] = False
    if outside.mean() < 0.2:
        outside[:] = True
    light = (around - np.median(around[outside], 0)).mean(2, dtype=np.float64)
    return light, max(1.4826 * float(np.median(np.abs(light[outside]))), 0.5 / 255)


# --- files


def preview(kernel: np.ndarray) -> np.ndarray:
    """A kernel as an enlarged 8-bit picture, (H, W, 1); its maximum is white."""
    factor = max(1, round(PREVIEW / len(kernel)))
    return to_8bit_kernel(kernel).repeat(factor, 0).repeat(factor, 1)


def write_kernel_file(path: Path, kernel: np.ndarray) -> None:
    """Write a kernel (h, w): PNG (16 bit, scaled to its maximum), TIFF (float), .npy or .mat (variable `kernel`).

    Raises UserError for another suffix, OSError where the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        write_photo(path, Photo(as_integers(kernel / kernel.max(), np.uint16)[..., None], Metadata()))
    elif suffix in (".tif", ".tiff"):
        write_photo(path, Photo(kernel.astype(np.float32)[..., None], Metadata()))
    elif suffix == ".npy":
        write_atomic(path, lambda temporary: np.save(temporary, kernel))
    elif suffix == ".mat":
        write_atomic(path, lambda temporary: scipy.io.savemat(temporary, {"kernel": kernel}))
    else:
        raise UserError(f"{path}: a kernel is written as {', '.join(KERNEL_FORMATS)}")
