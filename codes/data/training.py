"""Training data: patches of sharp images, blurred and made noisy on the fly.

Everything random in a sample depends on (seed, its number) alone, so any number of worker
processes, started anew at any sample, gives the same data; that of text depends on the fonts, too.
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

from codes.data.degradation import seed_of
from codes.data.images import list_images, read_image
from codes.data.kernel_generator import camera_shake, delta, disk, gaussian
from codes.data.text_pages import LONGEST, text_page
from codes.models.archs.blur import Blur, centre
from codes.restoration.masks import clipped_highlights
from codes.training.options import KernelShares, TrainSet
from codes.utils.errors import UserError

MOST_DEAD = 0.01
"""Largest share of dead pixels in a masked patch."""
KEPT_BYTES = 2**30
"""of decoded images, at most, in each process's workers: reading one takes longer than all else that a patch needs"""
NAMED = 20
"""so many of the images that are too small are named"""


class Sample(NamedTuple):
    """One patch, or a batch of them with a leading dimension B.

    sharp, blurry, noise: float32 (3, H, W); kernel: (h, w), sum 1; sigma: scalar, standard
    deviation of the noise. blurry = blur of sharp + noise, where noise includes the error of rounding if there is one.
    mask: None, or (1, H, W), 1 at valid pixels and 0 at clipped or dead ones; sharp goes beyond 1 there.
    """

    sharp: Tensor
    blurry: Tensor
    kernel: Tensor
    noise: Tensor
    sigma: Tensor
    mask: Tensor | None = None


class Ticket(NamedTuple):
    """What a worker is asked for: sample `number` with patches of `size` pixels a side."""

    number: int
    size: int


class TrainingPatches(Dataset):
    """The samples of a training set by ticket.

    Raises UserError for an empty or missing folder, an unreadable image, or one smaller than the
    largest patch.
    """

    def __init__(self, options: TrainSet, folder: Path, seed: int):
        self.options, self.seed = options, seed
        self._kept: dict[int, np.ndarray] = {}
        self._room = KEPT_BYTES // max(1, options.n_workers)
        self.paths = list_images(folder)
        largest = max(options.GT_size, *(phase.GT_size for phase in options.progressive), 0)
        sizes = {path: _size_of(path) for path in self.paths}
        small = [f"{path.name} ({w}x{h})" for path, (w, h) in sizes.items() if min(w, h) < largest]
        if small:
            raise UserError(
                f"{folder}: {len(small)} of {len(sizes)} images are smaller than GT_size {largest}: "
                f"{', '.join(small[:NAMED])}{', ...' if len(small) > NAMED else ''}; remove them, or lower GT_size"
            )

    def __len__(self) -> int:
        """Number of sharp images; samples have no end."""
        return len(self.paths)

    @property
    def identity(self) -> str:
        """Tells these images from others, by number, names and file sizes."""
        listing = "".join(f"{path.name} {path.stat().st_size}\n" for path in self.paths)
        return f"{len(self.paths)} images with checksum {sha256(listing.encode()).hexdigest()[:8]}"

    def __getitem__(self, ticket: Ticket) -> Sample:
        """Make one sample. Raises UserError for an unreadable image."""
        number, size = ticket
        options = self.options
        random = np.random.RandomState(seed_of("sample", number, seed=self.seed))
        image = self._image(self._image_of(number))
        kernel = draw_kernel(random, options.kernels, options.kernel_size_min, options.kernel_size)
        if options.text > 0 and random.uniform() < options.text:
            image = text_page(random, *(min(length, max(LONGEST, size)) for length in image.shape[:2]))
        image, kernel = self._turned(random, image, kernel)
        grey = options.grey > 0 and random.uniform() < options.grey
        equal_noise = grey and not (options.grey_independent > 0 and random.uniform() < options.grey_independent)
        masked = options.masks > 0 and random.uniform() < options.masks
        if masked:
            image = highlighted(random, image)
        top, left = (random.randint(length - size + 1) for length in image.shape[:2])
        # The blur sees real pixels within the margin; beyond it, and beyond the image, replicated ones.
        margin = max(centre(kernel.shape)) if random.uniform() < options.real_border else 0
        above, before = min(margin, top), min(margin, left)
        window = image[top - above : top + size + margin, left - before : left + size + margin]
        if grey:  # of masked patches too: highlights are those of the scene, a grey camera adds up its colours
            window = np.broadcast_to(window.mean(2, keepdims=True), window.shape)
        x = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1)))
        k = torch.from_numpy(kernel.astype(np.float32))
        inner = (..., slice(above, above + size), slice(before, before + size))
        blurred = Blur(k[None], x.shape[-2:], border="replicate")(x[None])[0][inner]
        least, largest = options.noise
        sigma = least + (largest - least) * random.uniform() ** options.noise_exponent
        noise = random.standard_normal((1 if equal_noise else 3, size, size))
        blurry = blurred + torch.from_numpy((sigma * noise).astype(np.float32))
        mask = None
        if options.masks > 0:
            mask = blurry.new_ones(1, size, size)
            if masked:
                blurry, mask = clipped(random, blurry)
        if options.round_8bit:
            blurry = blurry.clamp(0, 1).mul(255).round().div(255)
        kernel = zero_padded(k, options.kernel_size)
        return Sample(x[inner].contiguous(), blurry, kernel, blurry - blurred, torch.tensor(sigma), mask)

    def _image(self, index: int) -> np.ndarray:
        """Sharp image `index` (H, W, 3), from memory where there is room to keep it."""
        image = self._kept.get(index)
        if image is None:
            image = read_image(self.paths[index])
            if image.nbytes <= self._room:
                self._kept[index], self._room = image, self._room - image.nbytes
        return np.broadcast_to(image, (*image.shape[:2], 3))

    def _image_of(self, number: int) -> int:
        """Every epoch shows each image once, in an order of its own."""
        epoch, place = divmod(number, len(self.paths))
        if not self.options.use_shuffle:
            return place
        return int(np.random.RandomState(seed_of("order", epoch, seed=self.seed)).permutation(len(self.paths))[place])

    def _turned(
        self, random: np.random.RandomState, image: np.ndarray, kernel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image and kernel, both flipped and turned by multiples of 90 degrees alike."""
        flip, turns = random.randint(2), random.randint(4)
        if self.options.use_flip and flip:
            image, kernel = image[:, ::-1], kernel[:, ::-1]
        if self.options.use_rot:
            image, kernel = np.rot90(image, turns), np.rot90(kernel, turns)
        return image, kernel


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file, from its header."""
    try:
        with Image.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise UserError(f"{path}: not a readable image; is it damaged?") from None


class Tickets:
    """The batches of tickets of one process from iteration `start` on: a batch sampler.

    phases: (first iteration, patch size, batch size of all processes together), growing. A
    process takes every world_size-th sample of each batch, so the batches do not depend on the
    number of processes.
    """

    def __init__(
        self, phases: Sequence[tuple[int, int, int]], start: int, end: int, rank: int = 0, world_size: int = 1
    ):
        self.phases, self.start, self.end, self.rank, self.world_size = phases, start, end, rank, world_size

    @classmethod
    def of(cls, options: TrainSet, start: int, end: int, rank: int, world_size: int) -> "Tickets":
        """Raises UserError where a batch can't be shared out evenly."""
        phases = [(0, options.GT_size, options.batch_size)]
        phases += [(phase.from_iter, phase.GT_size, phase.batch_size) for phase in options.progressive]
        for _, _, batch in phases:
            if batch % world_size:
                raise UserError(
                    f"datasets.train: a batch of {batch} can't be shared out evenly among {world_size} processes"
                )
        return cls(phases, start, end, rank, world_size)

    def __len__(self) -> int:
        return self.end - self.start

    def __iter__(self) -> Iterator[list[Ticket]]:
        number, following = 0, [*self.phases[1:], (self.end, 0, 0)]
        for (first, size, batch), (limit, _, _) in zip(self.phases, following, strict=True):
            for iteration in range(first, min(limit, self.end)):
                if iteration >= self.start:
                    yield [Ticket(number + i, size) for i in range(self.rank, batch, self.world_size)]
                number += batch


def draw_kernel(random: np.random.RandomState, shares: KernelShares, smallest: int, largest: int) -> np.ndarray:
    """One kernel (h, w) of odd size from `smallest` to `largest`, float64, sum 1."""
    kinds = shares.model_dump()
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


def zero_padded(kernel: Tensor, size: int) -> Tensor:
    """A kernel (h, w) of odd sides with zeros around it, (size, size), its centre kept."""
    rows, columns = (size - kernel.shape[0]) // 2, (size - kernel.shape[1]) // 2
    return torch.nn.functional.pad(kernel, (columns, columns, rows, rows))


def highlighted(random: np.random.RandomState, image: np.ndarray) -> np.ndarray:
    """An image (H, W, C) made brighter, so that its highlights, up to a tenth of it, go beyond 1, to 5 at most."""
    share, boost = random.uniform(0, 0.1), random.uniform(1, 4)
    image = image / max(np.quantile(image.mean(2), 1 - share), 0.1)
    return np.minimum(np.where(image > 1, 1 + boost * (image - 1), image), 5).astype(np.float32)


def clipped(random: np.random.RandomState, blurry: Tensor) -> tuple[Tensor, Tensor]:
    """A blurry patch (3, H, W) as a sensor gives it, and its mask (1, H, W).

    Values are clipped to [0, 1], and now and then a pixel is dead (black) or hot (white). The mask
    is 0 there, and at the neighbours of clipped pixels, as the mask of codes/deblur.py is.
    """
    blurry = blurry.clamp(0, 1)
    mask = torch.from_numpy(clipped_highlights(blurry.permute(1, 2, 0).numpy()))[None]
    dead = torch.from_numpy(random.uniform(size=mask.shape) < random.uniform(0, MOST_DEAD))
    hot = torch.from_numpy(random.uniform(size=mask.shape) < 0.5)
    return torch.where(dead, hot.to(blurry.dtype), blurry), mask * ~dead


def collate(samples: Sequence[Sample]) -> Sample:
    """Stack samples to a batch; either all of them have a mask or none."""
    return Sample(*(None if parts[0] is None else torch.stack(parts) for parts in zip(*samples, strict=True)))


def random_batch(count: int, patch: int, kernel: int) -> Sample:
    """Noise in place of images, to time a training step with: it takes the same time."""
    images, kernels = torch.rand(count, 3, patch, patch), torch.rand(count, kernel, kernel)
    kernels /= kernels.sum((1, 2), keepdim=True)
    return Sample(images, images, kernels, torch.zeros_like(images), torch.zeros(count))
