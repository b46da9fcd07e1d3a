"""Images, kernels, triples, the forward model, and the set preparation."""

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
import scipy.ndimage

from codes.data import preparation
from codes.data.degradation import blurred, seed_of, with_noise
from codes.data.images import read_image, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake, disk, gaussian
from codes.data.kernels import check_fits, normalised, read_kernel, read_kernels, write_kernel
from codes.data.triples import TripleDataset
from codes.scripts import prepare_datasets
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import read_csv
from tests.conftest import one_error


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("channels", [1, 3])
def test_reading_integer_images(tmp_path, random, dtype, scale, channels):
    pixels = random.randint(0, scale + 1, (12, 15, channels)).astype(dtype)
    path = tmp_path / "ein Bild ü.png"
    cv2.imwrite(str(path), pixels[..., ::-1] if channels == 3 else pixels)
    image = read_image(path)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, pixels / np.float32(scale), rtol=1e-6)


def test_reading_float_tiff(tmp_path, random, capsys):
    pixels = random.uniform(-0.1, 1.2, (12, 15, 3)).astype(np.float32)
    cv2.imwrite(str(tmp_path / "a.tiff"), pixels[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff"), pixels)
    cv2.imwrite(str(tmp_path / "bright.tiff"), np.full((4, 4), 200, np.float32))
    read_image(tmp_path / "bright.tiff")
    assert "float values up to 200" in capsys.readouterr().err


def test_alpha_is_dropped_with_one_warning_for_each_file(tmp_path, random, capsys):
    colours, grey = random.randint(0, 256, (8, 9, 3)), random.randint(0, 256, (8, 9, 1))
    for name, pixels in (("colours", colours), ("grey", grey)):
        with_alpha = np.dstack([np.broadcast_to(pixels[..., ::-1], colours.shape), 255 - grey]).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), with_alpha)
        for _ in range(2):
            np.testing.assert_array_equal(to_8bit(read_image(tmp_path / f"{name}.png")), pixels)
    assert capsys.readouterr().err.count("alpha channel is dropped") == 2


def test_8bit_round_trip_and_clamping(tmp_path, random):
    pixels = random.randint(0, 256, (9, 8, 3)).astype(np.uint8)
    write_8bit(tmp_path / "folder" / "a.png", pixels)
    np.testing.assert_array_equal(to_8bit(read_image(tmp_path / "folder" / "a.png")), pixels)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.png"]
    np.testing.assert_array_equal(to_8bit(np.array([-1.0, 0.4 / 255, 0.6 / 255, 2.0])), [0, 0, 1, 255])


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_images_are_refused(tmp_path, random, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    cv2.imwrite(str(path), random.randint(0, 256, (60, 70, 3)).astype(np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=rf"cut\.{suffix}: not a readable image"):
        read_image(path)


def save_kernel(path, kernel):
    match path.suffix:
        case ".npy":
            np.save(path, kernel)
        case ".mat" if path.stem == "v5":
            scipy.io.savemat(path, {"psf": kernel, "sigma": 0.01, "note": "text"})
        case ".mat":
            with h5py.File(path, "w") as file:
                file["psf"], file["sigma"] = kernel.T, np.array([[0.01]])
                file["note"] = np.frombuffer("text".encode("utf-16-le"), np.uint16)[:, None]
                file["note"].attrs["MATLAB_class"] = np.bytes_("char")
        case _:
            cv2.imwrite(str(path), np.rint(kernel / kernel.max() * 65535).astype(np.uint16))


FORMATS = ["a.png", "a.tiff", "a.npy", "v5.mat", "v73.mat"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_kernel_format_gives_the_same(tmp_path, random, name):
    """A number and a text next to the kernel do not matter."""
    kernel = random.uniform(size=(7, 5))
    save_kernel(tmp_path / name, kernel)
    read = read_kernel(tmp_path / name)
    assert read.dtype == np.float64
    np.testing.assert_allclose(read, kernel / kernel.sum(), atol=2e-6)
    assert read.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", FORMATS)
def test_a_kernel_for_each_channel(tmp_path, random, name):
    kernel = random.uniform(size=(5, 7, 3))
    save_kernel(tmp_path / name, kernel[..., ::-1] if name[0] == "a" and name != "a.npy" else kernel)  # OpenCV's order
    read = read_kernel(tmp_path / name, per_channel=True)
    np.testing.assert_allclose(read, kernel / kernel.sum((0, 1)), atol=2e-6)
    with pytest.raises(UserError, match="channels differ"):
        read_kernel(tmp_path / name)


def test_three_equal_channels_are_one_kernel(tmp_path, random):
    kernel = random.randint(0, 256, (5, 5)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([kernel] * 3))
    np.testing.assert_allclose(read_kernel(tmp_path / "a.png"), kernel / kernel.sum())


def test_even_kernels_become_odd_on_reading(tmp_path, random):
    kernel = random.uniform(0.1, 1, (4, 6))
    np.save(tmp_path / "a.npy", kernel)
    read = read_kernel(tmp_path / "a.npy")
    assert read.shape == (5, 7)
    np.testing.assert_allclose(read[1:, 1:], kernel / kernel.sum())
    assert not read[0].any() | read[:, 0].any()


def test_cell_arrays_and_files_of_several_kernels(tmp_path):
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.ones((3, 3)), np.ones((5, 7))
    scipy.io.savemat(tmp_path / "cells.mat", {"kernels": cells})
    assert [kernel.shape for kernel in read_kernels(tmp_path / "cells.mat").values()] == [(3, 3), (5, 7)]
    scipy.io.savemat(tmp_path / "two.mat", {"psf": np.ones((3, 3)), "other": np.ones((3, 3))})
    for name, message in (("cells", "holds 2 kernels"), ("two", r"holds 2 kernels \(psf, other\)")):
        with pytest.raises(UserError, match=message):
            read_kernel(tmp_path / f"{name}.mat")


def test_files_that_claim_huge_kernels_are_refused(tmp_path):
    """Huge .npy headers are in test_bad_input.py."""
    with h5py.File(tmp_path / "k.mat", "w") as file:
        file.create_dataset("k", (2**20, 2**20), "f8", chunks=(64, 64), compression="gzip")
    with pytest.raises(UserError, match="holds no two-dimensional"):
        read_kernel(tmp_path / "k.mat")
    np.save(tmp_path / "line.npy", np.ones((1, 5000)))
    with pytest.raises(UserError, match="too many for a kernel"):
        read_kernel(tmp_path / "line.npy")


def test_the_levin_kernels(shared):
    kernels = list(read_kernels(shared / "data" / "Levin09.mat").values())
    assert [kernel.shape[0] for kernel in kernels] == [19, 17, 15, 27, 13, 21, 23, 23]


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.zeros((3, 3)), "all zero"),
        (np.array([[-1.0, 0.5, 0.0]]), "sum is -0.5"),
        (np.array([[-1.0, 1.0, 0.0]]), "sum is 0"),
        (np.array([[np.inf, 1.0, 0.0]]), "not finite"),
        (np.ones((0, 3)), "two-dimensional"),
        (np.arange(27.0).reshape(3, 3, 3), "channels differ"),
        (np.ones((3, 5, 5)), "channels come last"),
        (np.array([["a"]]), "real numbers"),
        (np.ones((3, 3), complex), "real numbers"),
    ],
)
def test_impossible_kernels(kernel, message):
    with pytest.raises(UserError, match=rf"^k\.npy: .*({message})"):
        normalised(kernel, "k.npy")


def test_a_kernel_larger_than_the_image():
    with pytest.raises(UserError, match="9x3 pixels is larger than the image of 8x8"):
        check_fits(np.ones((9, 3)), np.ones((8, 8, 3)), "k.png")
    with pytest.raises(UserError, match=r"9x3 pixels \(even sides are made one longer\) is larger"):
        check_fits(normalised(np.ones((8, 3)), "k.png"), np.ones((8, 8, 3)), "k.png")


def test_a_written_kernel_is_what_is_read(tmp_path, random):
    kernel = camera_shake(random, 19)
    written = write_kernel(tmp_path / "k.png", kernel)
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.png"), written)
    assert np.abs(written - kernel).sum() < 0.05


@pytest.mark.parametrize("size", [3, 35, 75])
def test_camera_shake_kernels(size):
    first, second = np.random.RandomState(size), np.random.RandomState(size)
    kernels = [camera_shake(first, size) for _ in range(20)]
    for kernel in kernels:
        assert kernel.shape == (size, size)
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_array_equal(kernel, camera_shake(second, size))
    # No two alike, and the large ones fill much of their support.
    assert len({kernel.tobytes() for kernel in kernels}) == 20
    if size >= 35:
        spans = [np.ptp(np.nonzero(kernel), axis=1).max() + 1 for kernel in kernels]
        assert min(spans) > 0.4 * size


def test_gaussian_and_disk():
    for kernel in (gaussian(15, 2.0), disk(15, 4.2)):
        assert kernel.sum() == pytest.approx(1)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1])
    assert np.count_nonzero(disk(15, 4.2)) == pytest.approx(np.pi * 4.7**2, rel=0.15)


def test_blurred_is_scipys_correlation(random):
    image, kernel = random.uniform(size=(20, 24, 3)), normalised(random.uniform(size=(7, 5)), "k")
    expected = np.dstack([scipy.ndimage.correlate(image[..., c], kernel, mode="nearest") for c in range(3)])
    np.testing.assert_allclose(blurred(image, kernel), expected, atol=1e-13)


def test_noise_has_its_level_and_is_frozen():
    flat = np.full((200, 200, 3), 0.5)
    noisy = with_noise(flat, 0.03, seed_of("set", "image", 3))
    assert noisy.dtype == np.uint8
    assert (noisy / 255.0).std() == pytest.approx(0.03, rel=0.02)
    np.testing.assert_array_equal(noisy, with_noise(flat, 0.03, seed_of("set", "image", 3)))
    assert (noisy != with_noise(flat, 0.03, seed_of("set", "image", 5))).mean() > 0.5
    # The first pixels of this seed, so that another numpy can't change the test sets unseen.
    np.testing.assert_array_equal(noisy[0, 0], [135, 135, 128])


@pytest.fixture
def folders(tmp_path, random):
    for kind in ("GT", "LQ", "KM"):
        (tmp_path / kind).mkdir()
    for name in ("b", "a"):
        for kind in ("GT", "LQ"):
            write_8bit(tmp_path / kind / f"{name}.png", random.randint(0, 256, (20, 24, 3)).astype(np.uint8))
        write_kernel(tmp_path / "KM" / f"{name}.png", random.uniform(size=(5, 5)))
    return tmp_path


def open_triples(folder):
    return TripleDataset(folder / "GT", folder / "LQ", folder / "KM")


def test_triples_are_paired_by_sorted_name(folders, capsys):
    dataset = open_triples(folders)
    assert [dataset.name(i) for i in range(len(dataset))] == ["a", "b"]
    triple = dataset[1]
    np.testing.assert_array_equal(triple.blurry, read_image(folders / "LQ" / "b.png"))
    np.testing.assert_array_equal(triple.kernel, read_kernel(folders / "KM" / "b.png"))
    assert capsys.readouterr().err == ""
    (folders / "LQ" / "b.png").rename(folders / "LQ" / "z.png")
    open_triples(folders)
    assert "b.png, z.png and b.png are paired by their order" in capsys.readouterr().err


def test_folders_that_are_no_test_set(folders, random):
    def image(path, width=24):
        write_8bit(folders / path, random.randint(1, 256, (20, width, 3)).astype(np.uint8))

    def refused(message, lq="LQ"):
        with pytest.raises(UserError, match=message):
            TripleDataset(folders / "GT", folders / lq, folders / "KM")[0]

    refused("none: no such folder", lq="none")
    (folders / "empty").mkdir()
    refused(r"empty: holds no \.png", lq="empty")
    image("LQ/a.png", width=25)
    refused(r"a\.png: 25x20 pixels, but its ground truth a\.png has 24x20")
    image("LQ/a.bmp")
    refused(r"2 in .*GT, 3 in .*LQ, 2 in .*KM")
    image("GT/c.png")
    image("KM/c.png")
    refused("two images have the name a")


def test_quickstart_set(tmp_path):
    preparation.ensure_quickstart(tmp_path / "Quickstart")
    rows = preparation.manifest(tmp_path / "Quickstart")
    assert len(rows) == 4 * 5
    published = {row["folder"]: row["sha256"] for row in read_csv(prepare_datasets.PUBLISHED_MANIFEST)}
    for row in preparation.folder_digests(rows):
        assert published[row["folder"]] == row["sha256"], "the quickstart set differs from the published one"
    noisy = read_image(tmp_path / "Quickstart" / "Noise_05" / "coffee.png")
    truth = read_image(tmp_path / "Quickstart" / "GT" / "coffee.png")
    kernel = read_kernel(tmp_path / "Quickstart" / "Kernel" / "coffee.png")
    assert (noisy - blurred(truth, kernel)).std() == pytest.approx(0.05, rel=0.1)


def small_source(folder, random):
    """Raw data in the shape of the real one: 2 BSDS images a part, 1 Levin image, 8 kernels, 1 Set5, Lai 1 x 2."""

    def image(path, channels=3):
        write_8bit(folder / path, random.randint(0, 256, (40, 48, channels)).astype(np.uint8))

    for part in ("train", "test", "val"):
        for n in range(2):
            image(f"BSDS500/{part}/{part}{n}.png")
    image("Levin/im1.png", 1)
    image("Set5/baby.bmp")
    cells = np.empty((8, 1), object)
    for n in range(8):
        cells[n, 0] = camera_shake(random, 13)
    scipy.io.savemat(folder / "Levin09.mat", {"kernels": cells})
    image("Lai/GT/text_01.png")
    for n in (1, 2):
        image(f"Lai/BL/text_01_kernel_0{n}.png")
        write_kernel(folder / f"Lai/Kernel/kernel_0{n}.png", camera_shake(random, 15))


def test_prepare_datasets_builds_every_set(tmp_path, random, capsys):
    source, target = tmp_path / "raw data", tmp_path / "Datasets"
    small_source(source, random)
    arguments = ["--source", str(source), "--target", str(target)]

    def triples(name, level):
        return TripleDataset(*(target / name / kind for kind in ("GT", f"Noise_0{level}", "Kernel")))

    assert run_command_line(prepare_datasets.main, arguments) == 0
    counts = {"CBSD100/Noise_03/BL": 2, "CBSD100/Noise_03/Kernel": 2, "Levin/GT": 8, "Levin/Noise_05": 8}
    counts |= {"LevinIndependent/Noise_03": 8, "Set5/Noise_01": 1, "Lai/GT": 2, "Lai/Kernel": 2, "Train/GT": 3}
    counts |= {"Validation/Noise_01": 1, "ValidationGrey/Noise_01": 1, "ValidationJPEG/Quality_85_Noise_01": 1}
    assert {folder: len(list((target / folder).iterdir())) for folder in counts} == counts
    assert not [path for path in target.iterdir() if "~" in path.name]
    assert (target / "Set5").stat().st_mode & 0o777 == 0o755, "other users can read the sets"
    out = capsys.readouterr().out
    assert "5 of " in out  # the quickstart set's folders
    assert "different from the published results: " in out
    triple, independent = triples("Levin", 1)[5], triples("LevinIndependent", 5)[5]
    assert triple.name == "im1_kernel_06"
    assert triple.ground_truth.shape[2] == 1
    assert (triple.blurry - blurred(triple.ground_truth, triple.kernel)).std() == pytest.approx(0.01, rel=0.1)
    np.testing.assert_array_equal(independent.ground_truth, triple.ground_truth.repeat(3, 2))
    noise = (independent.blurry - blurred(independent.ground_truth, independent.kernel)).reshape(-1, 3)
    np.testing.assert_allclose(np.cov(noise.T), 0.05**2 * np.eye(3), atol=0.1 * 0.05**2)
    (grey,), (colour,) = triples("ValidationGrey", 5), triples("Validation", 5)
    assert grey.ground_truth.shape[2] == grey.blurry.shape[2] == 1
    np.testing.assert_array_equal(grey.kernel, colour.kernel)
    np.testing.assert_allclose(grey.ground_truth[..., 0], colour.ground_truth.mean(2), atol=0.6 / 255)
    errors = {}
    for quality, percent in ((95, 0), (85, 0), (85, 1)):
        folder = f"Quality_{quality}_Noise_0{percent}"
        (jpeg,) = TripleDataset(*(target / "ValidationJPEG" / kind for kind in ("GT", folder, "Kernel")))
        np.testing.assert_array_equal(jpeg.ground_truth, colour.ground_truth)
        assert (target / "ValidationJPEG" / folder / f"{jpeg.name}.jpg").read_bytes().startswith(b"\xff\xd8")
        errors[quality, percent] = (jpeg.blurry - blurred(jpeg.ground_truth, jpeg.kernel)).std()
    assert 0.001 < errors[95, 0] < errors[85, 0] < errors[85, 1] < 0.1
    first = (target / "manifest.csv").read_text()

    assert run_command_line(prepare_datasets.main, arguments) == 0
    assert " exists already (--force builds it again)" in capsys.readouterr().out
    assert run_command_line(prepare_datasets.main, [*arguments, "--force"]) == 0
    assert (target / "manifest.csv").read_text() == first


def test_prepare_datasets_names_what_is_missing_or_damaged(tmp_path, random, capsys):
    source, target = tmp_path / "raw", tmp_path / "D"
    small_source(source, random)
    (source / "Levin09.mat").rename(tmp_path / "Levin09.mat")
    arguments = ["--source", str(source), "--target", str(target)]
    assert run_command_line(prepare_datasets.main, arguments) == 0
    out = capsys.readouterr().out
    for name in ("CBSD100", "Levin", "LevinIndependent", "Set5"):
        assert f"{name}: not built, {source / 'Levin09.mat'} is missing: download Levin09.mat (Levin" in out
        assert not (target / name).exists()
    assert (target / "Lai").is_dir()
    assert run_command_line(prepare_datasets.main, [*arguments, "--sets", "Set5", "Levin"]) == 1
    assert one_error(capsys).startswith("error: none of the sets was built")
    (tmp_path / "Levin09.mat").rename(source / "Levin09.mat")
    (source / "Set5" / "baby.bmp").write_bytes(b"BM")
    assert run_command_line(prepare_datasets.main, [*arguments, "--sets", "Set5"]) == 1
    assert "baby.bmp: not a readable image" in one_error(capsys)
    assert not (target / "Set5").exists()
    assert run_command_line(prepare_datasets.main, ["--source", str(tmp_path / "none")]) == 1


def test_prepare_datasets_copies_the_authors_layout(tmp_path, random):
    """A finished set is copied as it is."""
    source = tmp_path / "download"
    small_source(tmp_path / "raw", random)
    prepare_datasets.main(["--source", str(tmp_path / "raw"), "--target", str(source)])
    write_8bit(source / "CBSD100" / "Noise_01" / "BL" / "val0.png", np.zeros((40, 48, 3), np.uint8))
    (source / "Set5" / "GT" / "Thumbs.db").write_bytes(b"left by a system")
    assert run_command_line(prepare_datasets.main, ["--source", str(source), "--target", str(tmp_path / "D")]) == 0
    for name in ("CBSD100", "Levin", "Set5", "Lai"):
        copied = preparation.manifest(tmp_path / "D" / name)
        assert copied == preparation.manifest(source / name)
        assert copied


def test_the_training_split_is_fixed(shared):
    train, held_out = preparation.training_split(shared / "data")
    assert (len(train), len(held_out)) == (380, 20)
    assert not {path.name for path in train} & {path.name for path in held_out}
    assert not any("val" in path.parts for path in train + held_out)
