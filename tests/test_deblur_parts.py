"""The parts of codes/deblur.py: kernels by name, files with their metadata, tiles, ensemble, masks, orientation."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from skimage import data as skimage_data

from codes.data.degradation import blurred, with_noise
from codes.data.kernel_generator import camera_shake, motion
from codes.data.kernels import read_kernel
from codes.data.preparation import quickstart
from codes.models.paper.blur import Blur
from codes.models.factory import build_preset
from codes.models.weights import save_weights
from codes.restoration import ensemble, masks, memory, tiling
from codes.restoration.deblurring import Deblurrer, Settings, overlap_of
from codes.restoration.image_files import Photo, read_photo, upright, write_photo
from codes.restoration.kernel_spec import kernel_of
from codes.restoration.metadata import Metadata
from codes.restoration.networks import load_network, shipped_knows_masks
from codes.restoration.orientation import SURE, Evidence, certainty, explains, gather, is_symmetric, judge, rotated
from codes.restoration.pixels import pixels_of, values_of
from codes.restoration.restoring import restore
from codes.utils.errors import UserError
from tests.conftest import ROOT

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def small_network(**keys):
    network = build_preset("tiny", **{"nf_p": 3, "nf_d": 3, "nb": 2, "nf_n": 4, **keys})
    with torch.no_grad():  # as built every stage is the identity
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return network


# --- kernels


@pytest.mark.parametrize("length", [0.0, 0.5, 3.0, 7.3, 20.0])
@pytest.mark.parametrize("angle", [0.0, 30.0, 45.0, 90.0, -120.0, 200.0])
def test_motion_is_a_symmetric_line_of_its_length_and_angle(length, angle):
    kernel = motion(length, angle)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    rows, columns = np.indices(kernel.shape) - kernel.shape[0] // 2
    covariance = np.cov(np.stack([columns.ravel(), -rows.ravel()]), aweights=kernel.ravel(), ddof=0)
    # Along the line: the variance of a uniform distribution, plus up to 1/4 a pixel of anti-aliasing.
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    assert 0 <= direction @ covariance @ direction - length**2 / 12 <= 0.5 + 1e-9
    across = np.array([-direction[1], direction[0]])
    assert across @ covariance @ across <= 0.5 + 1e-9


def test_specifications(tmp_path, monkeypatch):
    assert kernel_of("disk:4").shape == (9, 9)
    assert kernel_of("gaussian:0").shape == (1, 1)
    axis = np.arange(17) - 8
    assert (kernel_of("gaussian:2") * axis**2).sum() == pytest.approx(4, rel=0.01)
    np.testing.assert_array_equal(kernel_of("motion:9,45"), motion(9, 45))
    monkeypatch.chdir(tmp_path)
    np.save("disk:4", np.ones((3, 3)))  # a file of that name comes first
    (tmp_path / "disk:4.npy").rename(tmp_path / "disk:4")
    with pytest.raises(UserError, match="not a readable image"):
        kernel_of("disk:4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("motion:15", "write motion:LENGTH,ANGLE"),
        ("motion:1,2,3", "write motion:LENGTH,ANGLE"),
        ("gaussian:", "write motion"),
        ("gaussian:nan", "write motion"),
        ("disk:x", "write motion"),
        ("disk:-1", "0 to"),
        ("gaussian:1e9", "0 to"),
        ("blur:3", "no such file; without a file, write motion"),
        ("nowhere.png", "no such file"),
    ],
)
def test_impossible_specifications(text, message):
    with pytest.raises(UserError, match=message):
        kernel_of(text)


@pytest.mark.parametrize("name", ["k.png", "k.tiff", "k.npy", "v5.mat", "v73.mat"])
def test_a_kernel_for_each_channel(tmp_path, random, name):
    import h5py
    import scipy.io

    kernel = random.randint(0, 65536, (5, 7, 3)).astype(np.uint16)
    match name:
        case "k.npy":
            np.save(tmp_path / name, kernel)
        case "v5.mat":
            scipy.io.savemat(tmp_path / name, {"k": kernel, "sigma": 0.1})
        case "v73.mat":
            with h5py.File(tmp_path / name, "w") as file:
                file["k"] = kernel.T
        case _:
            cv2.imwrite(str(tmp_path / name), kernel[..., ::-1])
    read = read_kernel(tmp_path / name, per_channel=True)
    np.testing.assert_allclose(read, kernel / kernel.sum((0, 1)))
    with pytest.raises(UserError, match="channels differ"):
        read_kernel(tmp_path / name)


def test_files_that_claim_to_be_huge_are_not_believed(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20)})
    (tmp_path / "k.npy").write_bytes(header.getvalue() + bytes(64))
    with pytest.raises(UserError, match="not a readable"):
        read_kernel(tmp_path / "k.npy")
    import h5py

    with h5py.File(tmp_path / "k.mat", "w") as file:
        file.create_dataset("k", (2**20, 2**20), "f8", chunks=(64, 64), compression="gzip")
    with pytest.raises(UserError, match="holds no two-dimensional"):
        read_kernel(tmp_path / "k.mat")
    np.save(tmp_path / "line.npy", np.ones((1, 5000)))
    with pytest.raises(UserError, match="too many for a kernel"):
        read_kernel(tmp_path / "line.npy")


# --- image files


def exif(orientation):
    data = Image.Exif()
    data[274], data[271] = orientation, "Camera"
    return data.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("suffix", "dtype"), [
    (".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tiff", np.uint16), (".tiff", np.float32),
    (".tif", np.float64), (".bmp", np.uint8), (".jpg", np.uint8),
])  # fmt: skip
def test_every_kind_of_image_comes_back(tmp_path, random, suffix, dtype, channels):
    if suffix in (".jpg", ".bmp"):  # which have no alpha channel
        channels = {2: 1, 4: 3}.get(channels, channels)
    scale = {"u": np.iinfo(dtype).max if dtype in (np.uint8, np.uint16) else 1}.get(np.dtype(dtype).kind, 1.0)
    pixels = (cv2.resize(random.uniform(size=(4, 4, channels)), (15, 12)).reshape(12, 15, channels) * scale).astype(
        dtype
    )
    write_photo(tmp_path / f"a{suffix}", Photo(pixels, Metadata()))
    read = read_photo(tmp_path / f"a{suffix}").pixels
    assert read.dtype == pixels.dtype
    if (suffix, dtype, channels) == (".png", np.uint16, 2):  # written as colours
        assert (read[..., :1] == pixels[..., :1]).all()
        read = read[..., [0, 3]]
    if suffix == ".jpg":
        assert np.abs(read.astype(int) - pixels).max() < 24
    else:
        np.testing.assert_array_equal(read, pixels)


def test_grey_with_alpha_is_read_as_such(tmp_path, random):
    pixels = random.randint(0, 256, (8, 9, 2)).astype(np.uint8)
    Image.fromarray(pixels, "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels, pixels)


def test_grey_with_alpha_stays_so_or_is_warned_of(tmp_path, random, capsys):
    pixels = random.randint(0, 256, (8, 9, 2)).astype(np.uint8)
    write_photo(tmp_path / "a.png", Photo(pixels, Metadata(6, exif(6))))
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == "LA"
        assert written.getexif()[274] == 6
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels, pixels)
    assert capsys.readouterr().err == ""
    write_photo(tmp_path / "b.png", Photo(pixels.astype(np.uint16), Metadata()))
    assert "b.png: grey with alpha can't be written as png of this depth" in capsys.readouterr().err


def test_tiffs_of_few_bits_and_of_inverted_grey(tmp_path, random):
    bits = random.uniform(size=(8, 9)) > 0.5
    deep = random.randint(0, 65536, (8, 9)).astype(np.uint16)
    for name, written, expected in (
        ("minisblack", bits, bits * np.uint8(255)),
        ("miniswhite", ~bits, bits * np.uint8(255)),
        ("miniswhite", 65535 - deep, deep),
        ("miniswhite", (65535 - deep >> 8).astype(np.uint8), (deep >> 8).astype(np.uint8)),
    ):
        tifffile.imwrite(tmp_path / "a.tif", written, photometric=name)
        read = read_photo(tmp_path / "a.tif").pixels
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read[..., 0], expected)
    Image.fromarray(bits).save(tmp_path / "b.tif")
    Image.fromarray(bits).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif").pixels, read_photo(tmp_path / "b.png").pixels)


def test_a_thumbnail_is_no_second_image(tmp_path):
    page = np.full((8, 9), 7, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(page, photometric="minisblack", metadata=None)
        file.write(page[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels[..., 0], page)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_orientation_profile_and_exif_data_are_carried_through(tmp_path, random, suffix, orientation):
    pixels = random.randint(0, 256, (12, 15, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0" + exif(orientation), icc_profile=SRGB, quality=100)
    shown = np.asarray(ImageOpsShown(path))
    photo = read_photo(path)
    tolerance = 12 if suffix == ".jpg" else 0
    assert np.abs(photo.pixels.astype(int) - shown).max() <= tolerance
    for target in (f"b{suffix}", "b.png", "b.tif"):
        write_photo(tmp_path / target, photo)
        with Image.open(tmp_path / target) as written:
            assert written.getexif().get(274, 1) == orientation
            if written.format != "TIFF":  # which Pillow turns on reading
                assert written.size == (15, 12), "lies in the file as it lay in the input"
            assert written.info["icc_profile"] == SRGB
            assert written.getexif()[271] == "Camera"
        again = read_photo(tmp_path / target)
        assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= 2 * tolerance
    assert tifffile.imread(tmp_path / "b.tif").shape == (12, 15, 3)
    write_photo(tmp_path / "b.bmp", photo)  # no tag: upright
    np.testing.assert_array_equal(read_photo(tmp_path / "b.bmp").pixels, photo.pixels)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>\xc3\xbc</note></x:xmpmeta>'


def documented(path, pixels):
    """An image file as Pillow writes it, with all kinds of metadata."""
    data = Image.Exif()
    data[271], data[315], data[306] = "Camera", "Jörg".encode(), "2026:01:02 03:04:05"
    data[0x8769] = {33434: 0.004, 42036: "Lens 50 mm", 37500: bytes(range(200))}
    data[0x8825] = {1: "N", 2: (48.0, 8.0, 12.5)}
    keys = {"xmp": XMP} if path.suffix == ".jpg" else {}
    if path.suffix == ".tif":
        data[700] = XMP
    if path.suffix == ".png":
        keys["pnginfo"] = PngInfo()
        keys["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(pixels).save(path, exif=data.tobytes(), dpi=(300, 150), **keys)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("source", [".png", ".jpg", ".tif"])
def test_all_metadata_are_carried_through(tmp_path, random, source, target, channels):
    if channels == 2 and ".jpg" in (source, target):
        channels = 1
    pixels = random.randint(0, 256, (12, 15, channels)).astype(np.uint8)
    documented(tmp_path / f"a{source}", pixels[..., 0] if channels == 1 else pixels)
    photo = read_photo(tmp_path / f"a{source}")
    write_photo(tmp_path / f"b{target}", photo)
    with Image.open(tmp_path / f"b{target}") as written:
        data = written.getexif()
        assert [data[tag] for tag in (271, 306)] == ["Camera", "2026:01:02 03:04:05"]
        if source != ".tif":  # into which Pillow writes question marks
            assert data[315].encode("latin-1").decode() == "Jörg"
        entries = data.get_ifd(0x8769)
        assert (float(entries[33434]), entries[42036], entries[37500]) == (0.004, "Lens 50 mm", bytes(range(200)))
        assert data.get_ifd(0x8825) == {1: "N", 2: (48.0, 8.0, 12.5)}
        assert written.info["xmp"] == XMP
        assert written.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    again = read_photo(tmp_path / f"b{target}")
    np.testing.assert_allclose(again.pixels, photo.pixels, atol=60 * (target == ".jpg"))
    write_photo(tmp_path / "c.png", again)
    with Image.open(tmp_path / "c.png") as written:
        assert written.getexif()[315] == data[315]


def test_a_bmp_keeps_the_resolution(tmp_path, random):
    pixels = random.randint(0, 256, (12, 15, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp", dpi=(300, 150))
    photo = read_photo(tmp_path / "a.bmp")
    for orientation, expected in ((1, (300, 150)), (6, (150, 300))):
        write_photo(tmp_path / "b.bmp", Photo(pixels, replace(photo.metadata, orientation=orientation)))
        with Image.open(tmp_path / "b.bmp") as written:
            assert written.info["dpi"] == pytest.approx(expected, abs=0.02)
        np.testing.assert_array_equal(read_photo(tmp_path / "b.bmp").pixels, pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_damaged_or_strange_metadata_are_no_reason_to_refuse(tmp_path, random, suffix):
    pixels = random.randint(0, 256, (12, 15, 3)).astype(np.uint8)
    metadata = Metadata(1, b"Exif\0\0II*\0\x08\0\0\0\xff\xffdamaged", b"no profile", b"<x", (72, 72))
    write_photo(tmp_path / f"a{suffix}", Photo(pixels, metadata))
    assert np.abs(read_photo(tmp_path / f"a{suffix}").pixels.astype(int) - pixels).mean() < 12
    tags = [(282, "2I", 1, (1, 0), True), (33434, "B", 3, b"abc", True), (34665, "I", 1, 2**31, True)]
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", metadata=None, extratags=tags)
    photo = read_photo(tmp_path / "b.tif")
    write_photo(tmp_path / f"c{suffix}", photo)


def test_metadata_beyond_what_a_jpeg_holds_are_left_out(tmp_path, capsys):
    data = Image.Exif()
    data[0x8769] = {37500: bytes(70_000)}
    photo = Photo(np.zeros((8, 9, 3), np.uint8), Metadata(1, data.tobytes()))
    for suffix in (".png", ".tif"):
        write_photo(tmp_path / f"a{suffix}", photo)
        assert capsys.readouterr().err == ""
        with Image.open(tmp_path / f"a{suffix}") as written:
            assert len(written.getexif().get_ifd(0x8769)[37500]) == 70_000
    write_photo(tmp_path / "a.jpg", photo)
    assert "a.jpg: jpg holds no EXIF data of 70," in capsys.readouterr().err


def ImageOpsShown(path):
    from PIL import ImageOps

    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def test_upright_is_undone():
    pixels = np.arange(24).reshape(4, 6, 1)
    inverse = {6: 8, 8: 6}
    for orientation in range(1, 9):
        back = upright(upright(pixels, orientation), inverse.get(orientation, orientation))
        np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits"])
def test_compressed_and_planar_tiff(tmp_path, random, compression):
    pixels = random.randint(0, 65536, (12, 15, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, pixels)
    planar = pixels.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "b.tif", planar, photometric="rgb", planarconfig="separate", compression=compression)
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif").pixels, pixels)


def test_what_a_format_cannot_hold_is_said(tmp_path, capsys):
    floats = Photo(np.full((4, 5, 4), 0.5, np.float32), Metadata())
    write_photo(tmp_path / "a.png", floats)
    assert read_photo(tmp_path / "a.png").pixels.dtype == np.uint16
    assert "png holds no float32 values; written with 16 bits" in capsys.readouterr().err
    write_photo(tmp_path / "a.jpg", floats)
    assert read_photo(tmp_path / "a.jpg").pixels.shape == (4, 5, 3)
    assert "jpg holds no alpha channel" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"can be written, not '\.webp'"):
        write_photo(tmp_path / "a.webp", floats)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png"]


def test_a_profile_of_other_colours_is_left_out(tmp_path, random):
    pixels = random.randint(0, 256, (8, 9)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=SRGB)
    write_photo(tmp_path / "b.png", read_photo(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as written:
        assert "icc_profile" not in written.info


def tiff_with(**keys):
    file = io.BytesIO()
    tifffile.imwrite(file, **keys)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "not a readable image"),
        ("text.jpg", b"no image at all", "not a readable image"),
        ("empty.tif", b"", "not a readable image"),
        ("cut.tif", tiff_with(data=np.ones((40, 40, 3), np.uint16), photometric="rgb")[:900], "not a readable TIFF"),
        ("head.tif", b"II*\0" + bytes(40), "not a readable TIFF"),
        ("cmyk.tif", tiff_with(data=np.ones((9, 9, 4), np.uint8), photometric="separated"), "of kind SEPARATED"),
        ("pages.tif", tiff_with(data=np.ones((2, 9, 9), np.uint8), photometric="minisblack"), "holds 2 images; store"),
        ("stack.tif", tiff_with(data=np.ones((3, 9, 9), np.uint8), photometric="minisblack", volumetric=True), "axes"),
    ],
)
def test_impossible_images_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_photo(tmp_path / name)
    assert name in str(error.value)


def test_a_decompression_bomb_is_refused(tmp_path):
    image = io.BytesIO()
    Image.new("1", (8, 8)).save(image, "PNG")
    data = bytearray(image.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    for read in (read_photo, read_kernel):
        with pytest.raises(UserError, match="claims more than"):
            read(tmp_path / "bomb.png")
    bomb = tiff_with(data=np.zeros((16, 16), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(io.BytesIO(bomb)) as file:
        tags = {name: file.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")}
    bomb = bytearray(bomb)
    for offset in tags.values():
        bomb[offset : offset + 2] = (60_000).to_bytes(2, "little")
    (tmp_path / "bomb.tif").write_bytes(bomb)
    with pytest.raises(UserError, match="claims 3,600,000,000 values"):
        read_photo(tmp_path / "bomb.tif")


# --- pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_values_and_back(random, dtype, channels):
    pixels = (random.uniform(size=(5, 6, channels)) * (255 if np.dtype(dtype).kind == "u" else 1)).astype(dtype)
    values = values_of(pixels)
    assert values.colours.shape == (5, 6, 1 if channels < 3 else 3)
    assert (values.alpha is None) == (channels in (1, 3))
    np.testing.assert_allclose(pixels_of(values, pixels.dtype), pixels, rtol=1e-6)


def test_bright_floats_are_scaled_and_not_clamped():
    pixels = np.linspace(0, 4, 3000, dtype=np.float32).reshape(50, 60, 1)
    values = values_of(pixels)
    assert values.colours.max() == 1
    restored = pixels_of(values._replace(colours=values.colours * 2), pixels.dtype)
    np.testing.assert_allclose(restored, 2 * pixels)
    assert pixels_of(values_of(pixels / 4)._replace(colours=pixels), pixels.dtype).max() == 1


@pytest.mark.parametrize(("most", "white"), [(1e-4, 1e-4), (0.4, 0.4), (0.5, 1.0), (1.0, 1.0), (3.0, 3.0), (0.0, 1.0)])
def test_the_white_level(random, most, white):
    pixels = (most * random.uniform(size=(64, 64, 3))).astype(np.float32)
    pixels[0, 0] = most
    values = values_of(pixels)
    assert values.white == pytest.approx(white)
    np.testing.assert_allclose(pixels_of(values, pixels.dtype), pixels, rtol=1e-6)


def test_a_hot_pixel_does_not_set_the_white_level(random):
    pixels = random.uniform(size=(64, 64, 3)).astype(np.float32)
    pixels[3, 5] = 1e6
    values = values_of(pixels)
    assert 1.9 < values.white < 2
    assert values.colours.max() == 1
    pixels[3, 5] = -1e6
    assert values_of(pixels).colours.min() == 0


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4,)), "an image is"),
        (np.zeros((0, 4, 3)), "an image is"),
        (np.zeros((4, 4, 5)), "an image is"),
        (np.zeros((4, 4), np.int32), "pixels of type int32"),
        (np.zeros((4, 4), bool), "pixels of type bool"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.full((4, 4, 3), 1e300), "not finite"),
    ],
)
def test_impossible_pixels(pixels, message):
    with pytest.raises(UserError, match=message):
        values_of(pixels)


# --- tiles


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    overlap=st.integers(48, 200),
    more=st.integers(0, 20),
)
def test_tiles_cover_the_image_and_their_weights_sum_to_one(size, overlap, more):
    side = tiling.smallest_side(overlap) + tiling.MULTIPLE * more
    tiles = tiling.plan(size, side, overlap)
    ones = tiling.blended(lambda tile: [torch.ones(1, 1, *tile.of(torch.empty(size)).shape)], tiles, size)[0]
    torch.testing.assert_close(ones, torch.ones(1, 1, *size))
    for tile in tiles:
        for span, weight, length in ((tile.rows, tile.weight_of_rows[:, 0], size[0]),
                                     (tile.columns, tile.weight_of_columns, size[1])):  # fmt: skip
            assert span.start % tiling.MULTIPLE == 0
            assert span.stop - span.start <= side
            if span.start > 0:
                assert not weight[: tiling.UNSEEN].any()
            if span.stop < length:
                assert not weight[-tiling.UNSEEN :].any()


def test_impossible_tiles():
    for side in (tiling.smallest_side(64) - tiling.MULTIPLE, tiling.smallest_side(64) + 1):
        with pytest.raises(ValueError, match="a tile of"):
            tiling.plan((500, 500), side, 64)


@pytest.fixture(scope="module")
def photograph():
    """A blurry photograph (256, 320, 3) from 0 to 1 with its kernel, and the sharp one."""
    sharp = quickstart()[0]
    kernel = camera_shake(np.random.RandomState(2), 7)
    blurry = with_noise(blurred(sharp.image / 255, kernel), 0.01, seed=0) / np.float32(255)
    return blurry, kernel, sharp.image


def test_tiles_agree_with_the_whole(photograph):
    blurry, kernel, _ = photograph
    blurry = blurry[:192, :256]
    network = load_network().network
    whole, tiled = (Deblurrer(network, settings=Settings(tile=tile)).stages(blurry, kernel) for tile in ("off", 176))
    assert len(whole) == len(tiled) == network.n_iter + 1
    np.testing.assert_allclose(tiled[0], whole[0], atol=1e-6)
    difference = 255 * np.abs(tiled[-1] - whole[-1])
    assert 0 < difference.max() < 3
    assert difference.mean() < 0.1


def test_x0_by_tiles_where_the_memory_does_not_suffice(photograph, monkeypatch):
    blurry, kernel, _ = photograph
    blurry, network = blurry[:192, :256], small_network()
    monkeypatch.setattr("codes.restoration.deblurring.X0_BYTES", 1e12)
    tiled = Deblurrer(network, settings=Settings(tile=176)).stages(blurry, kernel)
    monkeypatch.undo()
    whole = Deblurrer(network, settings=Settings(tile="off")).stages(blurry, kernel)
    inside = (slice(20, -20), slice(20, -20))
    assert 255 * np.abs(tiled[0] - whole[0])[inside].mean() < 1


def test_tiles_are_chosen_by_the_memory(photograph, monkeypatch):
    blurry, kernel, _ = photograph
    network = small_network()
    seen = []
    monkeypatch.setattr(network, "forward", lambda y, k, m, stages, x0, sigma: seen.append(y.shape[-2:]) or x0)
    Deblurrer(network).stages(blurry, kernel, every=False)
    assert seen == [(256, 320)]
    seen.clear()
    monkeypatch.setattr("codes.restoration.deblurring.budget", lambda *_: 0.0)
    Deblurrer(network).stages(blurry, kernel, every=False)
    least = tiling.smallest_side(overlap_of(torch.empty(7, 7)))
    assert len(seen) > 1
    assert max(max(size) for size in seen) == least


def test_budget():
    cpu = torch.device("cpu")
    assert memory.budget(cpu) > 1e6
    assert memory.budget(cpu, 1e-6) == 0
    assert memory.budget(cpu, 1e9) == pytest.approx(memory.budget(cpu), rel=0.2)


def test_too_small_tiles_and_too_little_memory(photograph, monkeypatch):
    blurry, kernel, _ = photograph
    network = small_network()
    with pytest.raises(UserError, match="tile 100: this kernel needs tiles of at least 176 pixels"):
        Deblurrer(network, settings=Settings(tile=100)).stages(blurry, kernel)

    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(network, "forward", fail)
    with pytest.raises(UserError, match="the memory does not suffice"):
        Deblurrer(network).stages(blurry, kernel)


# --- network, ensemble, channels


def test_given_x0_is_the_start(random):
    network = small_network().eval()
    y, k = torch.rand(1, 3, 40, 48), torch.rand(1, 5, 5)
    k /= k.sum()
    with torch.no_grad():
        torch.testing.assert_close(network(y, k, x0=network.initial(y, k)), network(y, k))
        assert not torch.allclose(network(y, k, x0=y), network(y, k), atol=1e-4)


@pytest.mark.parametrize("init", ["paper", "adaptive"])
@pytest.mark.parametrize("solver", ["cgnet", "cgnet_fft"])
def test_a_kernel_for_each_channel_restores_as_three_networks_would(init, solver):
    """With equal kernels it is the ordinary restoration; x0 of each channel is that of its own kernel."""
    network = small_network(init=init, solver=solver).eval()
    y, k = torch.rand(1, 3, 40, 48), torch.rand(1, 3, 5, 7)
    k /= k.sum((-2, -1), keepdim=True)
    with torch.no_grad():
        same = k[:, :1].expand(-1, 3, -1, -1)
        torch.testing.assert_close(network(y, same), network(y, same[:, 0]))
        if init == "paper":
            for channel in range(3):
                alone = network.initialise(y[:, channel : channel + 1], k[:, channel])
                torch.testing.assert_close(network.initial(y, k)[:, channel : channel + 1], alone)
        assert network(y, k).isfinite().all()


def test_the_ensemble_commutes_with_flips_and_turns(random):
    network = small_network()
    image, kernel = random.uniform(size=(40, 48, 3)).astype(np.float32), camera_shake(random, 7)
    deblurrer = Deblurrer(network, settings=Settings(ensemble=True))
    mask = (random.uniform(size=(40, 48)) > 0.02).astype(np.float32)
    restored = deblurrer.stages(image, kernel, mask, every=False)[0]
    turned = deblurrer.stages(np.rot90(image), np.rot90(kernel), np.rot90(mask).copy(), every=False)[0]
    np.testing.assert_allclose(np.rot90(restored), turned, atol=1e-4)


def test_the_ensembles_transforms_are_eight_and_undone():
    image = torch.arange(30.0).view(1, 1, 5, 6)
    seen = [ensemble.turned(image, number) for number in range(ensemble.TRANSFORMS)]
    assert len({(tuple(x.shape), tuple(x.flatten().tolist())) for x in seen}) == 8
    for number, x in enumerate(seen):
        torch.testing.assert_close(ensemble.turned_back(x, number), image)


def test_bfloat16_is_close(photograph):
    blurry, kernel, _ = photograph
    part = blurry[:96, :112]
    network = load_network().network
    results = [
        Deblurrer(network, settings=Settings(precision=p)).stages(part, kernel)[-1] for p in ("float32", "bfloat16")
    ]
    difference = np.abs(results[0] - results[1])
    assert 0 < difference.mean() < 2e-3


def test_a_network_of_one_channel(random):
    network = small_network(in_nc=1, out_nc=1)
    image, kernels = random.uniform(size=(32, 40, 3)).astype(np.float32), np.stack([camera_shake(random, 5)] * 3, 2)
    deblurrer = Deblurrer(network)
    colours = deblurrer.stages(image, kernels, every=False)[0]
    for channel in range(3):
        alone = deblurrer.stages(image[..., channel : channel + 1], kernels[..., channel], every=False)[0]
        np.testing.assert_allclose(colours[..., channel : channel + 1], alone, rtol=1e-4, atol=1e-4)


def test_networks_by_name_and_file(tmp_path):
    trained = load_network()
    assert trained.path == ROOT / "Models" / "dsdnet_tiny.safetensors"
    assert trained.knows_masks == shipped_knows_masks()
    network = small_network()
    folder = tmp_path / "experiments" / "own" / "models"
    save_weights(network, folder / "best.safetensors")
    with pytest.raises(UserError, match="which network is it"):
        load_network(folder / "best.safetensors")
    configuration = "network_G: {preset: tiny, nf_p: 3, nf_d: 3, nb: 2, nf_n: 4}"
    (folder.parent / "options.yml").write_text("network_G: {which_model_G: Denoiser}\n")
    with pytest.raises(UserError, match="holds a Denoiser, which does not deblur"):
        load_network(folder / "best.safetensors")
    (folder.parent / "options.yml").write_text(f"{configuration}\ndatasets: {{train: {{masks: 0.1}}}}\n")
    assert load_network(folder / "best.safetensors").knows_masks
    (folder / "best.yml").write_text(f"options: {{{configuration}}}\n")
    assert not load_network(folder / "best.safetensors").knows_masks
    with pytest.raises(UserError, match="does not fit this DSDNet"):
        load_network(folder / "best.safetensors", preset="light")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("options: {}", "network_G"),
        ("options: {network_G: {preset: tinny}}", "unknown preset 'tinny'; did you mean 'tiny'"),
        (
            "options: {network_G: {which_model_G: DSDNet, nf_p: 3, nf_d: 3, nbb: 2}}",
            "nbb: unknown key; did you mean 'nb'",
        ),
        ("options: {network_G: 3}", "network_G"),
        ("options: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("just text", "a card holds"),
    ],
)
def test_impossible_cards(tmp_path, card, message):
    (tmp_path / "a.safetensors").write_bytes(b"")
    (tmp_path / "a.yml").write_text(card)
    with pytest.raises(UserError, match=message):
        load_network(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["lite", "Models/gone.pth"])
def test_weights_that_are_not_there(name):
    with pytest.raises(UserError, match="no such file, and no preset"):
        load_network(name)


# --- masks


def test_masks(tmp_path, random):
    mask = (random.uniform(size=(8, 9)) > 0.3).astype(np.uint8) * 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    np.testing.assert_array_equal(masks.read_mask(tmp_path / "m.png", (8, 9)), mask / 255)
    with pytest.raises(UserError, match="the mask has 9x8 pixels, the image 8x9"):
        masks.read_mask(tmp_path / "m.png", (9, 8))
    with pytest.raises(UserError, match="leaves out every pixel"):
        masks.checked_mask(np.zeros((3, 3)), (3, 3))
    image = np.full((7, 7, 3), 0.5, np.float32)
    image[3, 3, 1] = 1
    auto = masks.clipped_highlights(image)
    assert auto.sum() == 49 - 9
    assert not auto[2:5, 2:5].any()


def test_gaps_are_filled_from_their_rim_and_clipped_values_stay():
    image = torch.full((1, 3, 40, 40), 0.25)
    image[..., 10:30, 10:30] = 0
    image[..., 35, 35] = 1
    mask = torch.ones(1, 1, 40, 40)
    mask[..., 10:30, 10:30] = mask[..., 35, 35] = 0
    filled = masks.filled(image, mask)
    assert filled[..., 35, 35].min() == 1
    filled[..., 35, 35] = 0.25
    torch.testing.assert_close(filled, torch.full_like(image, 0.25))


def test_masked_pixels_do_not_matter(random):
    """What a masked pixel shows changes nothing, in x0 or in the stages."""
    network = small_network()
    image, kernel = random.uniform(0, 0.9, size=(40, 48, 3)).astype(np.float32), camera_shake(random, 7)
    mask = (random.uniform(size=(40, 48)) > 0.05).astype(np.float32)
    other = np.where(mask[..., None] > 0, image, 0.5).astype(np.float32)
    one, two = (Deblurrer(network).stages(x, kernel, mask) for x in (image, other))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with pytest.raises(UserError, match="takes none"):
        Deblurrer(build_preset("plus_e", nf_p=2, nf_d=2)).stages(image, kernel, mask)


# --- orientation


def test_dead_pixels_under_a_mask_do_not_mislead_the_orientation():
    random = np.random.RandomState(0)
    kernel = camera_shake(random, 15)
    blurry = with_noise(blurred(skimage_data.coffee()[:256, :256] / 255, kernel), 0.01, seed=1) / np.float32(255)
    dead, hot = random.uniform(size=(2, 256, 256)) < np.array([0.005, 0.5])[:, None, None]
    damaged = np.where(dead[..., None], hot[..., None], blurry).astype(np.float32)
    assert not judge(damaged, kernel).explains
    network = small_network(nb=1)
    for shaken, expected in ((kernel, "taken as it is"), (rotated(kernel), "rotated by 180 degrees")):
        (note,) = restore(Deblurrer(network), damaged, shaken, "auto", (~dead).astype(np.float32)).notes
        assert expected in note


def test_the_right_way_round_is_found(photograph):
    blurry, kernel, _ = photograph
    assert not is_symmetric(kernel)
    right, wrong = judge(blurry, kernel), judge(blurry, rotated(kernel))
    assert (right.rotated, wrong.rotated) == (False, True)
    assert right.certainty == wrong.certainty > 0.9
    assert right.explains
    assert gather(blurry, kernel).contrast == pytest.approx(-gather(blurry, rotated(kernel)).contrast)
    coloured = np.stack([kernel] * 3, 2)
    assert judge(blurry, coloured).rotated is False
    assert judge(blurry, rotated(coloured)).rotated is True


def test_a_sharp_image_is_not_explained(photograph):
    _, kernel, sharp = photograph
    assert not judge(sharp / np.float32(255), kernel).explains
    symmetric = judge(sharp / np.float32(255), motion(15, 30))
    assert symmetric.symmetric
    assert not symmetric.rotated
    assert not symmetric.explains


def test_the_busiest_part_of_a_large_image_decides(photograph, monkeypatch):
    blurry, kernel, _ = photograph
    monkeypatch.setattr("codes.restoration.orientation.LARGEST_SIDE", 128)
    large = np.full((500, 700, 3), 0.5, np.float32)
    large[250:506, 300:620] = blurry[:250]
    assert judge(large, kernel).rotated is False
    assert judge(large, rotated(kernel)).rotated is True


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 40), (16, 16)])
def test_tiny_images_are_judged_without_an_error(size):
    verdict = judge(np.random.rand(*size, 3).astype(np.float32), np.ones((1, 1)))
    assert 0.5 <= verdict.certainty <= 1


def test_certainty_grows_with_the_contrast():
    assert certainty(0, 10_000) == 0.5
    assert 0.5 < certainty(-0.001, 10_000) < certainty(0.01, 10_000) < 1
    assert explains(Evidence(0.2, 0.0, 10_000))
    assert not explains(Evidence(0.0, 0.05, 10_000))


def test_few_gradients_do_not_tell(photograph):
    assert certainty(0.02, 1_000) < certainty(0.02, 10_000) < certainty(0.02, 100_000)
    blurry, kernel, _ = photograph
    turned = rotated(kernel)
    verdict = judge(blurry[:16, :16], turned)
    assert verdict.certainty < SURE
    assert not verdict.rotated


def test_blur_by_channel(random):
    x, k = torch.rand(1, 3, 20, 24), torch.rand(1, 3, 5, 5)
    each = torch.cat([Blur(k[:, c], (20, 24))(x[:, c : c + 1]) for c in range(3)], 1)
    torch.testing.assert_close(Blur(k, (20, 24))(x), each)


def test_memory_is_planned_for_the_stages_that_are_kept(monkeypatch):
    """With memory for the image but not for its stages too, it is restored in tiles."""
    network, sizes = small_network(), []
    needed = memory.network_bytes(network) + memory.held_bytes(network, every=False)
    monkeypatch.setattr("codes.restoration.deblurring.budget", lambda *_: needed * 400 * 400)
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda y, *args, **keys: sizes.append(y.shape) or forward(y, *args, **keys))
    image, kernel = np.full((400, 400, 3), 0.5, np.float32), np.full((3, 3), 1 / 9)
    Deblurrer(network).stages(image, kernel, every=False)
    assert sizes == [(1, 3, 400, 400)]
    Deblurrer(network).stages(image, kernel, every=True)
    assert len(sizes) > 2


@pytest.mark.parametrize(
    ("change", "message"), [("size", "not a readable TIFF"), ("strip", "missing from the file"), ("alpha", "by alpha")]
)
def test_tiff_files_that_would_be_read_wrongly_are_refused(change, message, tmp_path):
    path, extra = tmp_path / "a.tif", ["assocalpha"] if change == "alpha" else ["unassalpha"]
    tifffile.imwrite(path, np.full((9, 8, 4), 90, np.uint8), photometric="rgb", extrasamples=extra)
    tag = {"size": "ImageLength", "strip": "StripByteCounts"}.get(change)
    if tag:
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[0].tags[tag].overwrite(0)
    with pytest.raises(UserError, match=message):
        read_photo(path)


def test_a_profile_too_large_for_jpeg_is_left_out_with_a_warning(tmp_path, capsys):
    profile = SRGB + bytes(70_000)
    write_photo(tmp_path / "a.jpg", Photo(np.full((9, 8, 3), 90, np.uint8), Metadata(icc_profile=profile)))
    assert "jpg holds no ICC profile of 70," in capsys.readouterr().err
    assert read_photo(tmp_path / "a.jpg").metadata.icc_profile is None


def test_xmp_data_behind_the_pixels_of_a_png_are_found(tmp_path):
    write_photo(tmp_path / "a.png", Photo(np.full((9, 8, 3), 90, np.uint8), Metadata(orientation=6, xmp=b"<x/>")))
    data = (tmp_path / "a.png").read_bytes()
    start = data.index(b"iTXt") - 4
    length = int.from_bytes(data[start : start + 4], "big") + 12
    chunk, rest = data[start : start + length], data[:start] + data[start + length :]
    (tmp_path / "b.png").write_bytes(rest[:-12] + chunk + rest[-12:])
    assert read_photo(tmp_path / "b.png").metadata == read_photo(tmp_path / "a.png").metadata
    assert read_photo(tmp_path / "b.png").metadata.xmp == b"<x/>"


def test_memory_that_earlier_images_left_is_not_counted(monkeypatch):
    network = small_network()
    monkeypatch.setattr("codes.restoration.deblurring.taken", lambda device: 100_000_000)
    deblurrer = Deblurrer(network, settings=Settings(gigabytes=1.0))
    for name in ("deblurring", "memory"):
        monkeypatch.setattr(f"codes.restoration.{name}.taken", lambda device: 2_000_000_000)
    deblurrer.stages(np.full((40, 40, 3), 0.5, np.float32), np.full((3, 3), 1 / 9))
