"""Training data: patches of sharp images, blurred and made noisy on the fly.

A sample depends on the seed and its number alone, so any number of worker processes, started at any sample, gives
the same data. Text also depends on the fonts that matplotlib brings.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from codes.data.camera import SRGB, Shot, decoded, draw_shot, wrong_kernel
from codes.data.degradation import seed_of
from codes.data.images import list_images, read_image
from codes.data.kernel_generator import camera_shake, delta, disk, gaussian
from codes.data.patch_options import KernelFrequencies, TrainSet
from codes.data.text_pages import LONGEST, text_page
from codes.inference.gaps import clipped_highlights
from codes.models.paper.blur import Blur, centre
from codes.utils.errors import UserError

# Largest fraction of dead pixels in a masked patch.
MOST_DEAD = 0.01
# Cache limit for decoded images, in bytes per process. Decoding takes longer than everything else in a sample.
CACHE_BYTES = 2**30


class Sample(NamedTuple):
    """One patch, or a batch of them with a leading dimension B.

    sharp, blurry, noise: float32 (3, H, W). blurry = blur of sharp + noise, where noise includes everything that is not
    that blur: rounding, and what a camera does. kernel: (h, w), sum 1, the one that the network is given.
    sigma: scalar, standard deviation of the noise; with a camera, that at middle grey and before JPEG.
    mask: None, or (1, H, W), 1 at valid pixels and 0 at clipped or dead ones. sharp exceeds 1 at clipped highlights.
    """

    sharp: Tensor
    blurry: Tensor
    kernel: Tensor
    noise: Tensor
    sigma: Tensor
    mask: Tensor | None = None


class Request(NamedTuple):
    """What is asked of the data set for one sample: its number, and the side of the patch in pixels."""

    number: int
    size: int


class TrainingPatches(Dataset):
    """The samples of a training set, by request.

    Raises UserError for an empty or missing folder, an unreadable image, or one smaller than the largest patch.
    """

    def __init__(self, options: TrainSet, folder: Path, seed: int):
        self.options, self.seed = options, seed
        self._cache: dict[int, np.ndarray] = {}
        self._cache_left = CACHE_BYTES // max(1, options.n_workers)
        self.paths = list_images(folder)
        self.largest = largest = max(options.GT_size, *(phase.GT_size for phase in options.progressive), 0)
        sizes = {path.name: _size_of(path) for path in self.paths}
        small = [f"{name}, {width}x{height}" for name, (width, height) in sizes.items() if min(width, height) < largest]
        if small:
            raise UserError(
                f"{folder}: {len(small)} of {len(sizes)} images are smaller than GT_size {largest} "
                f"(first: {small[0]}); remove them, or lower GT_size"
            )

    def __len__(self) -> int:
        """Number of sharp images. The number of samples is unlimited."""
        return len(self.paths)

    @property
    def identity(self) -> str:
        """A text that differs if the images' number, names or file sizes differ."""
        listing = "".join(f"{path.name} {path.stat().st_size}\n" for path in self.paths)
        return f"{len(self.paths)} images with checksum {sha256(listing.encode()).hexdigest()[:8]}"

    def __getitem__(self, request: Request) -> Sample:
        """Make one sample. Raises UserError for an unreadable image."""
        number, size = request
        options = self.options
        random = np.random.RandomState(seed_of("sample", number, seed=self.seed))
        image, kernel = self._scene(random, number, size)
        grey = chance(random, options.grey)
        equal_noise = grey and not chance(random, options.grey_independent)
        masked = chance(random, options.masks)
        # The camera has random numbers of its own, so that all the rest is the same with and without it.
        of_camera = np.random.RandomState(seed_of("camera", number, seed=self.seed))
        shot = draw_shot(of_camera, options.camera, grey, masked)
        if masked or shot.highlights:
            image = with_highlights(random if masked else of_camera, image)
        x, inner = self._window(random, image, kernel, size, grey)
        k = given = torch.from_numpy(kernel.astype(np.float32))
        if shot.wrong_kernel:
            given = torch.from_numpy(wrong_kernel(of_camera, kernel, options.camera).astype(np.float32))
        least, largest = options.noise
        sigma = least + (largest - least) * random.uniform() ** options.noise_exponent
        noise = random.standard_normal((1 if equal_noise else 3, size, size))
        blurry = recorded(shot, x, k, noise, sigma, inner)
        mask = blurry.new_ones(1, size, size) if options.masks > 0 else None
        if masked:
            blurry, mask = clipped(random, blurry)
        if options.round_8bit:
            blurry = blurry.clamp(0, 1).mul(255).round().div(255)
        if shot.decoded:
            x, blurry = linear(x), linear(blurry)
        sharp, error = x[inner].contiguous(), blurry - blur(x, given)[inner]
        return Sample(sharp, blurry, zero_padded(given, options.kernel_size), error, torch.tensor(sigma), mask)

    def _scene(self, random: np.random.RandomState, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The sharp image (H, W, 3) and the kernel (h, w) of a sample, both flipped and rotated alike."""
        options = self.options
        image = self._image(self._image_of(number))
        kernel = draw_kernel(random, options.kernels, options.kernel_size_min, options.kernel_size)
        if chance(random, options.text):
            image = text_page(random, *(min(length, max(LONGEST, size)) for length in image.shape[:2]))
        flip, turns = random.randint(2), random.randint(4)
        if options.use_flip and flip:
            image, kernel = image[:, ::-1], kernel[:, ::-1]
        return (np.rot90(image, turns), np.rot90(kernel, turns)) if options.use_rot else (image, kernel)

    def _window(
        self, random: np.random.RandomState, image: np.ndarray, kernel: np.ndarray, size: int, grey: bool
    ) -> tuple[Tensor, tuple]:
        """A random patch (3, H, W) with the pixels around it that the blur sees, and the slices of the patch in it."""
        top, left = (random.randint(length - size + 1) for length in image.shape[:2])
        # The blur sees real pixels within the margin, and replicated ones beyond it and beyond the image.
        margin = max(centre(kernel.shape)) if random.uniform() < self.options.real_border else 0
        above, before = min(margin, top), min(margin, left)
        window = image[top - above : top + size + margin, left - before : left + size + margin]
        if grey:  # after the highlights: those belong to the scene, and a grey camera averages its colours
            window = np.broadcast_to(window.mean(2, keepdims=True), window.shape)
        x = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1)))
        return x, (..., slice(above, above + size), slice(before, before + size))

    def _image(self, index: int) -> np.ndarray:
        """Sharp image `index` (H, W, 3), from the cache if it is there."""
        image = self._cache.get(index)
        if image is None:
            image = read_image(self.paths[index])
            if min(image.shape[:2]) < self.largest:
                raise UserError(f"{self.paths[index]}: is smaller than GT_size {self.largest}; was it changed?")
            if image.nbytes <= self._cache_left:
                self._cache[index] = image
                self._cache_left -= image.nbytes
        return np.broadcast_to(image, (*image.shape[:2], 3))

    def _image_of(self, number: int) -> int:
        """The image that a sample is cut from. Every epoch shows each image once, in its own order."""
        epoch, place = divmod(number, len(self.paths))
        if not self.options.use_shuffle:
            return place
        return int(np.random.RandomState(seed_of("order", epoch, seed=self.seed)).permutation(len(self.paths))[place])


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file, from its header."""
    try:
        with Image.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise UserError(f"{path}: not a readable image; is it damaged?") from None


class Batches:
    """A batch sampler: the requests of one process, batch by batch, from iteration `start` to `end`.

    A process gets every world_size-th sample of each batch, so the batches do not depend on the number of processes.
    Raises UserError if a batch cannot be split evenly among the processes.
    """

    def __init__(self, options: TrainSet, start: int, end: int, rank: int = 0, world_size: int = 1):
        self.start, self.end, self.rank, self.world_size = start, end, rank, world_size
        self.phases = [(0, options.GT_size, options.batch_size)]
        self.phases += [(phase.from_iter, phase.GT_size, phase.batch_size) for phase in options.progressive]
        for _, _, batch in self.phases:
            if batch % world_size:
                raise UserError(f"datasets.train: {world_size} processes cannot share a batch of {batch} evenly")

    def __len__(self) -> int:
        return self.end - self.start

    def __iter__(self) -> Iterator[list[Request]]:
        number, following = 0, [*self.phases[1:], (self.end, 0, 0)]
        for (first, size, batch), (limit, _, _) in zip(self.phases, following, strict=True):
            for iteration in range(first, min(limit, self.end)):
                if iteration >= self.start:
                    yield [Request(number + i, size) for i in range(self.rank, batch, self.world_size)]
                number += batch


def chance(random: np.random.RandomState, probability: float) -> bool:
    """True with this probability. A probability of 0 draws no random number."""
    return probability > 0 and random.uniform() < probability


def draw_kernel(
    random: np.random.RandomState, frequencies: KernelFrequencies, smallest: int, largest: int
) -> np.ndarray:
    """One kernel (h, w) of odd size from `smallest` to `largest`, float64, sum 1."""
    kinds = frequencies.model_dump()
    parts = np.array(list(kinds.values()))
    kind = random.choice(list(kinds), p=parts / parts.sum())
    size = 2 * random.randint(smallest // 2, largest // 2 + 1) + 1
    if kind == "camera_shake":
        return camera_shake(random, size)
    if kind == "gaussian":
        return gaussian(size, random.uniform(0.6, size / 6))
    if kind == "delta":
        return delta(size)
    return disk(size, random.uniform(1, (size - 1) / 2))


def recorded(shot: Shot, x: Tensor, kernel: Tensor, noise: np.ndarray, sigma: float, inner: tuple) -> Tensor:
    """The blurry patch (3, H, W) of a sharp window x, of which `inner` is the patch. noise: white, of variance 1."""
    if not shot.changes():
        return blur(x, kernel)[inner] + torch.from_numpy((sigma * noise).astype(np.float32))
    light = x if shot.curve is None else linear(x, shot.curve)
    values = shot.recorded(blur(light, kernel)[inner].permute(1, 2, 0).numpy(), noise.transpose(1, 2, 0), sigma)
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def linear(values: Tensor, exponent: float = SRGB) -> Tensor:
    """Linear light for the values of a file; see `decoded`."""
    return torch.from_numpy(decoded(values.numpy(), exponent))


def blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Hx of an image (3, H, W) with a replicate border and a kernel (h, w)."""
    return Blur(kernel[None], x.shape[-2:], border="replicate")(x[None])[0]


def zero_padded(kernel: Tensor, size: int) -> Tensor:
    """A kernel (h, w) of odd sides, padded with zeros to (size, size) around the same centre."""
    rows, columns = (size - kernel.shape[0]) // 2, (size - kernel.shape[1]) // 2
    return torch.nn.functional.pad(kernel, (columns, columns, rows, rows))


def with_highlights(random: np.random.RandomState, image: np.ndarray) -> np.ndarray:
    """The image (H, W, C), brightened so that up to a tenth of its pixels exceed 1; values are capped at 5."""
    fraction, boost = random.uniform(0, 0.1), random.uniform(1, 4)
    image = image / max(np.quantile(image.mean(2), 1 - fraction), 0.1)
    return np.minimum(np.where(image > 1, 1 + boost * (image - 1), image), 5).astype(np.float32)


def clipped(random: np.random.RandomState, blurry: Tensor) -> tuple[Tensor, Tensor]:
    """A blurry patch (3, H, W) as a sensor records it, and its mask (1, H, W).

    Values are clipped to [0, 1], and a few pixels are dead (black) or hot (white). The mask is 0 there and at the
    neighbours of clipped pixels, like the mask of codes/deblur.py.
    """
    blurry = blurry.clamp(0, 1)
    mask = torch.from_numpy(clipped_highlights(blurry.permute(1, 2, 0).numpy()))[None]
    dead = torch.from_numpy(random.uniform(size=mask.shape) < random.uniform(0, MOST_DEAD))
    hot = torch.from_numpy(random.uniform(size=mask.shape) < 0.5)
    return torch.where(dead, hot.to(blurry.dtype), blurry), mask * ~dead


def collate(samples: Sequence[Sample]) -> Sample:
    """Stack samples to a batch. Either all of them have a mask, or none has one."""
    return Sample(*(None if parts[0] is None else torch.stack(parts) for parts in zip(*samples, strict=True)))
