"""Build the data folders of the option files from raw images and kernels.

Every set is built under a temporary name and renamed when it is complete. Blurry images are 8-bit PNGs, or JPEGs, of
H x + noise; H uses the kernel that is read from the kernel's 8-bit PNG.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from skimage import data as skimage_data
from tqdm import tqdm

from codes.data.camera import encode_jpeg
from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import IMAGE_SUFFIXES, decode, list_images, read_image, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake
from codes.data.kernels import KERNEL_SUFFIXES, read_kernels, write_kernel
from codes.utils.errors import UserError
from codes.utils.files import ROOT, write_atomic

# The folder of the embedded set.
QUICKSTART = ROOT / "Datasets" / "Quickstart"
# Noise of the test sets, percent of the full range.
NOISE_LEVELS = (1, 3, 5)
# Qualities and noise levels of the JPEG files in the set of that name.
JPEG_SET, JPEG_QUALITIES, JPEG_NOISE_LEVELS = "ValidationJPEG", (85, 95), (0, 1)
# Every 20th of the 400 training images, in the order of their names, is held out for validation.
HOLD_OUT_EVERY = 20
VALIDATION_KERNEL_SIZES = (13, 19, 27, 35, 17, 23, 51, 31, 15, 75)


@dataclass
class Sharp:
    """A ground truth (H, W, C) uint8 and the kernel (h, w) that will blur it."""

    name: str
    image: np.ndarray
    kernel: np.ndarray


def noise_folder(percent: int) -> str:
    """`Noise_01` for 1 percent."""
    return f"Noise_{percent:02d}"


# --- sources: the ground truths and kernels of each set -----------------------------------------


def cbsd100(source: Path) -> list[Sharp]:
    """BSDS500 `val` with the Levin kernels in turn."""
    return _with_kernels(list_images(source / "BSDS500" / "val"), _levin_kernels(source))


def set5(source: Path) -> list[Sharp]:
    """Set5 with the Levin kernels in turn."""
    return _with_kernels(list_images(source / "Set5"), _levin_kernels(source))


def levin(source: Path) -> list[Sharp]:
    """4 images times 8 kernels."""
    kernels = list(enumerate(_levin_kernels(source), 1))
    images = [(path.stem, to_8bit(read_image(path))) for path in list_images(source / "Levin")]
    return [Sharp(f"{name}_kernel_{n:02d}", image, kernel) for name, image in images for n, kernel in kernels]


def levin_independent(source: Path) -> list[Sharp]:
    """Levin's images and kernels, the images as RGB of three equal channels: each channel gets its own noise."""
    return [Sharp(item.name, item.image[..., :1].repeat(3, 2), item.kernel) for item in levin(source)]


def validation(source: Path) -> list[Sharp]:
    """The held-out training images with camera-shake kernels of our own."""
    _, held_out = training_split(source)
    random = np.random.RandomState(seed_of("validation kernels"))
    sizes = VALIDATION_KERNEL_SIZES
    kernels = [camera_shake(random, sizes[i % len(sizes)]) for i in range(len(held_out))]
    return _with_kernels(held_out, kernels)


def validation_grey(source: Path) -> list[Sharp]:
    """The same in grey, as Levin's images are, so that the three channels have the same noise."""
    return [
        Sharp(item.name, to_8bit(item.image.mean(2, keepdims=True) / 255), item.kernel) for item in validation(source)
    ]


def quickstart() -> list[Sharp]:
    """Photographs from the scikit-image package, cut to 320x256, with kernels of our own."""
    random = np.random.RandomState(seed_of("quickstart kernels"))
    sharp = []
    for name, size in (("astronaut", 19), ("chelsea", 27), ("coffee", 15), ("rocket", 31)):
        image = getattr(skimage_data, name)()
        top, left = (image.shape[0] - 256) // 2, (image.shape[1] - 320) // 2
        sharp.append(Sharp(name, image[top : top + 256, left : left + 320], camera_shake(random, size)))
    return sharp


def training_split(source: Path) -> tuple[list[Path], list[Path]]:
    """The 400 training images (BSDS500 `train` and `test`): (those for training, those held out)."""
    paths = list_images(source / "BSDS500" / "train") + list_images(source / "BSDS500" / "test")
    paths.sort(key=lambda path: path.name)
    held_out = paths[::HOLD_OUT_EVERY]
    return [path for path in paths if path not in held_out], held_out


def _levin_kernels(source: Path) -> list[np.ndarray]:
    kernels = list(read_kernels(source / "Levin09.mat").values())
    if len(kernels) != 8:
        raise UserError(f"{source / 'Levin09.mat'}: 8 kernels expected, {len(kernels)} found")
    return kernels


def _with_kernels(paths: Sequence[Path], kernels: Sequence[np.ndarray]) -> list[Sharp]:
    return [Sharp(path.stem, to_8bit(read_image(path)), kernels[i % len(kernels)]) for i, path in enumerate(paths)]


# --- the files of each set ------------------------------------------------------------------------


# The files to copy into a set: their path in it, and where they are now.
Copies = dict[str, Path]


def synthesise(folder: Path, sharp: Sequence[Sharp], name: str | None = None) -> None:
    """Write a set: ground truths, kernels, and blurry images of each noise level.

    The folders are `GT`, `Kernel` and `Noise_0N`; for CBSD100 `Noise_0N/{GT,BL,Kernel}`, as the authors have it.
    name: the set's name, which the noise depends on; by default the folder's.
    """
    name = name or folder.name
    for item in tqdm(sharp, desc=name, unit="image", leave=False, disable=None):
        blurry, file = None, f"{item.name}.png"
        for percent in NOISE_LEVELS:
            truths, blurries, kernels = folder / "GT", folder / noise_folder(percent), folder / "Kernel"
            if name == "CBSD100":
                truths, blurries, kernels = (blurries / kind for kind in ("GT", "BL", "Kernel"))
            write_8bit(truths / file, item.image)
            kernel = write_kernel(kernels / file, item.kernel)
            if blurry is None:
                blurry = blurred(item.image / 255.0, kernel)
            write_8bit(blurries / file, with_noise(blurry, percent / 100, seed_of(name, item.name, percent)))


def synthesise_jpeg(folder: Path, sharp: Sequence[Sharp]) -> None:
    """Write a set whose blurry images are JPEG files of some qualities and noise levels, as phones write them.

    The folders are `GT`, `Kernel` and, for example, `Quality_85_Noise_01`.
    """
    for item in tqdm(sharp, desc=folder.name, unit="image", leave=False, disable=None):
        write_8bit(folder / "GT" / f"{item.name}.png", item.image)
        kernel = write_kernel(folder / "Kernel" / f"{item.name}.png", item.kernel)
        blurry = blurred(item.image / 255.0, kernel)
        for percent in JPEG_NOISE_LEVELS:
            noisy = with_noise(blurry, percent / 100, seed_of(JPEG_SET, item.name, percent))
            for quality in JPEG_QUALITIES:
                path = folder / f"Quality_{quality}_{noise_folder(percent)}" / f"{item.name}.jpg"
                data = encode_jpeg(noisy, quality)
                write_atomic(path, lambda temporary, data=data: temporary.write_bytes(data))


def lai_files(source: Path) -> Copies:
    """Lai's 100 original blurred images, with a copy of the ground truth and the kernel for each."""
    files = {}
    for path in list_images(source / "Lai" / "BL"):
        scene, separator, kernel = path.stem.partition("_kernel_")
        if not separator:
            raise UserError(f"{path}: a name such as manmade_01_kernel_01.png is expected")
        for kind, origin in (("GT", scene), ("BL", path.stem), ("Kernel", f"kernel_{kernel}")):
            files[f"{kind}/{path.name}"] = source / "Lai" / kind / f"{origin}.png"
    return files


def training_files(source: Path) -> Copies:
    """The training images without the held-out ones."""
    return {f"GT/{path.name}": path for path in training_split(source)[0]}


def finished_files(folder: Path) -> Copies:
    """The files of a finished set, such as those of the authors' download; {} if it is not finished."""
    truths, blurry = folder / "GT", folder / "BL"
    same = truths.is_dir() and blurry.is_dir() and len(list_images(truths)) == len(list_images(blurry))  # Lai
    finished = same or (folder / noise_folder(NOISE_LEVELS[0])).is_dir()
    return {str(path.relative_to(folder)): path for path in _data_files(folder)} if finished else {}


def copy_files(folder: Path, files: Copies) -> None:
    """Copy files into a folder."""
    for name, origin in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copyfile(origin, folder / name)


@contextmanager
def replaced_when_complete(target: Path) -> Iterator[Path]:
    """A temporary folder next to `target`, which replaces it when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}~") as temporary:
        yield Path(temporary)
        Path(temporary).chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        Path(temporary).rename(target)
        Path(temporary).mkdir()  # for the context manager to remove


def ensure_quickstart(folder: Path) -> None:
    """Make the embedded set if it is not there yet; it takes a second."""
    if not folder.is_dir():
        with replaced_when_complete(folder) as temporary:
            synthesise(temporary, quickstart(), "Quickstart")


# --- manifest ---------------------------------------------------------------------------------


def manifest(folder: Path) -> list[dict[str, str]]:
    """One row `file, sha256` for each image and kernel of a set; paths are relative to the set's parent folder."""
    parent, files = folder.parent, _data_files(folder)
    return [{"file": path.relative_to(parent).as_posix(), "sha256": _pixel_hash(path)} for path in files]


def _data_files(folder: Path) -> list[Path]:
    """Images and kernels below a folder, without the hidden files (`._name`) of file systems and archives."""
    return sorted(path for path in folder.rglob("[!.]*") if path.suffix.lower() in KERNEL_SUFFIXES)


def _pixel_hash(path: Path) -> str:
    """SHA-256 of an image's decoded pixels with their type and shape, or of the bytes of another file."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    pixels = decode(path)
    head = f"{pixels.dtype} {pixels.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def folder_digests(rows: Sequence[dict[str, str]]) -> list[dict[str, object]]:
    """One row `folder, files, sha256` for each folder of a manifest: a hash over its files' rows."""
    digests = []
    for folder, members in groupby(rows, lambda row: row["file"].rpartition("/")[0]):
        lines = [f"{row['file']} {row['sha256']}\n" for row in members]
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        digests.append({"folder": folder, "files": len(lines), "sha256": digest})
    return digests
