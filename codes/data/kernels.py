"""Kernel files. A stored kernel is cross-correlated with the image.

A file does not say for which operation it was made. A kernel made for true convolution has to be rotated by 180
degrees before it is stored.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch

from codes.data.images import IMAGE_SUFFIXES, decode, to_8bit, write_8bit
from codes.models.paper.blur import odd_sized
from codes.utils.errors import UserError

KERNEL_SUFFIXES = (*IMAGE_SUFFIXES, ".npy", ".mat")
# Longest side of a kernel; a file that claims more is not a kernel.
LARGEST = 4095


def rotated(kernel: np.ndarray) -> np.ndarray:
    """A kernel (h, w) or (h, w, 3), rotated by 180 degrees."""
    return np.ascontiguousarray(kernel[::-1, ::-1])


def read_kernel(path: str | Path, per_channel: bool = False) -> np.ndarray:
    """Read one kernel: float64 (h, w), odd sides, sum 1.

    PNG or TIFF (8 or 16 bit, float; equal channels), .npy, or .mat (v5 and v7.3). With `per_channel`, a file of three
    channels that differ gives (h, w, 3), red first. Raises UserError for a missing or unreadable file, a file of
    several kernels, and as `normalised` does.
    """
    kernels = read_kernels(path, per_channel)
    if len(kernels) > 1:
        raise UserError(f"{path}: holds {len(kernels)} kernels ({', '.join(kernels)}); store one in a file of its own")
    return next(iter(kernels.values()))


def read_kernels(path: str | Path, per_channel: bool = False) -> dict[str, np.ndarray]:
    """Read every kernel of a file by its name (a MATLAB file can hold a cell array of them); see `read_kernel`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        arrays = {path.stem: _read_npy(path)}
    elif suffix == ".mat":
        arrays = _read_mat(path)
    else:
        pixels = decode(path)
        arrays = {path.stem: pixels[..., [2, 1, 0]] if pixels.ndim == 3 and pixels.shape[2] >= 3 else pixels}
    return {name: normalised(array, path, per_channel) for name, array in arrays.items()}


def normalised(kernel: np.ndarray, where: str | Path, per_channel: bool = False) -> np.ndarray:
    """Check a kernel and bring it to float64, odd sides and sum 1.

    kernel: (h, w) or (h, w, 1 to 4); a second or fourth channel is alpha and is left out.
    Returns (h, w); or, if the channels differ and `per_channel` allows it, (h, w, 3) with a sum of 1 for each.
    Raises UserError, naming `where`, for a kernel that is not numeric, not two-dimensional, too large, not finite,
    all zero, or has a negative sum or channels that differ.
    """
    kernel = np.asarray(kernel)
    if kernel.dtype.kind not in "biuf":
        raise UserError(f"{where}: a kernel is made of real numbers, not {kernel.dtype}")
    if kernel.ndim not in (2, 3) or kernel.size == 0:
        raise UserError(f"{where}: a kernel is a two-dimensional array, not of shape {kernel.shape}")
    if kernel.ndim == 3 and kernel.shape[2] > 4:
        raise UserError(f"{where}: a kernel is (h, w) or (h, w, 1 to 4), not {kernel.shape}; channels come last")
    if kernel.ndim == 3 and kernel.shape[2] in (2, 4):
        kernel = kernel[..., :-1]
    if max(kernel.shape) > LARGEST:
        raise UserError(f"{where}: {kernel.shape[0]}x{kernel.shape[1]} values are too many for a kernel")
    kernel = kernel.astype(np.float64)
    if not np.isfinite(kernel.sum()):
        raise UserError(f"{where}: the kernel holds values that are not finite (NaN or infinity)")
    if kernel.ndim == 3 and np.ptp(kernel, axis=2).any():
        if not (per_channel and kernel.shape[2] == 3):
            raise UserError(f"{where}: the kernel's channels differ; a grey kernel is needed")
        return np.stack([normalised(channel, where) for channel in np.moveaxis(kernel, 2, 0)], 2)
    kernel = kernel if kernel.ndim == 2 else kernel[..., 0]
    total = kernel.sum()
    if not kernel.any():
        raise UserError(f"{where}: the kernel is all zero")
    if total <= 0:
        raise UserError(f"{where}: the kernel's sum is {total:g}; it has to be positive")
    return odd_sized(torch.from_numpy(kernel / total)).numpy()


def check_fits(kernel: np.ndarray, image: np.ndarray, where: str | Path) -> None:
    """Raise UserError if the kernel (h, w) or (h, w, 3) is larger than the image (H, W, C)."""
    if any(k > s for k, s in zip(kernel.shape[:2], image.shape[:2], strict=True)):
        # The first row or column is zero if it was added to a side of even length.
        extended = " (even sides are made one longer)" if not (kernel[0].any() and kernel[:, 0].any()) else ""
        raise UserError(
            f"{where}: a kernel of {kernel.shape[0]}x{kernel.shape[1]} pixels{extended} is larger than the image "
            f"of {image.shape[0]}x{image.shape[1]}"
        )


def to_8bit_kernel(kernel: np.ndarray) -> np.ndarray:
    """A kernel (h, w) as an 8-bit image (h, w, 1), scaled to its maximum."""
    return to_8bit(kernel / kernel.max())[..., None]


def with_inset(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The image (H, W, C) with its kernel in the upper left corner, enlarged to about a quarter of the image."""
    image = image.copy()
    factor = max(1, min(image.shape[:2]) // 4 // max(kernel.shape))
    inset = (kernel / kernel.max()).repeat(factor, 0).repeat(factor, 1)[: image.shape[0], : image.shape[1]]
    image[: inset.shape[0], : inset.shape[1]] = inset[..., None]
    return image


def write_kernel(path: str | Path, kernel: np.ndarray) -> np.ndarray:
    """Store a kernel (h, w) as an 8-bit PNG and return what reading it gives."""
    pixels = to_8bit_kernel(kernel)
    write_8bit(path, pixels)
    return normalised(pixels, path)


def _read_npy(path: Path) -> np.ndarray:
    try:
        # Memory-mapped first, so that a false header cannot make numpy allocate memory.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # numpy evaluates the header, which can raise nearly anything
        raise UserError(f"{path}: not a readable .npy array ({error})") from None


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    """All numeric arrays (h, w) or (h, w, 3) of a MATLAB file by name, those in cell arrays included.

    Text, single numbers next to larger arrays, and arrays far too large for a kernel are left out.
    """
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                found = {k: a for name in file if name != "#refs#" for k, a in _hdf5_arrays(file, name, file[name])}
        else:
            wanted = [name for name, shape, _ in scipy.io.whosmat(path) if _small(shape)]
            variables = scipy.io.loadmat(path, variable_names=wanted)
            found = {k: a for name in variables if name[:2] != "__" for k, a in _cell_arrays(name, variables[name])}
    except Exception as error:  # scipy and h5py raise errors of many kinds for damaged files
        raise UserError(f"{path}: not a readable MATLAB file ({error})") from None
    if any(array.size > 1 for array in found.values()):
        found = {name: array for name, array in found.items() if array.size > 1}
    if not found:
        raise UserError(f"{path}: holds no two-dimensional numeric array")
    return found


def _cell_arrays(name: str, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if value.dtype == object:
        for number, cell in enumerate(value.flat, 1):
            yield from _cell_arrays(f"{name}{{{number}}}", np.asarray(cell))
    elif _kernel_like(value):
        yield name, value


def _hdf5_arrays(file: h5py.File, name: str, value: h5py.Dataset | h5py.Group) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(value, h5py.Dataset) or value.attrs.get("MATLAB_class") == b"char" or not _small(value.shape):
        return
    if value.dtype == h5py.ref_dtype:
        for number, reference in enumerate(value[()].flat, 1):
            yield from _hdf5_arrays(file, f"{name}{{{number}}}", file[reference])
    elif value.dtype.kind in "biuf":
        # MATLAB stores columns first, so what h5py reads is transposed.
        array = value[()].T
        if _kernel_like(array):
            yield name, array


def _small(shape: tuple[int, ...]) -> bool:
    return all(length <= LARGEST for length in shape)


def _kernel_like(array: np.ndarray) -> bool:
    return array.dtype.kind in "biuf" and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3))
