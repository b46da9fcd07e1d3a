"""The parts of codes/deblur.py: image files with metadata, pixels, kernels by name, masks, orientation of kernels."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from codes.data.degradation import blurred, with_noise
from codes.data.images import write_8bit
from codes.data.kernel_generator import camera_shake, motion
from codes.data.kernels import rotated, write_kernel
from codes.data.preparation import quickstart
from codes.data.triples import TripleDataset
from codes.inference.gaps import clipped_highlights
from codes.restoration.image_files import Photo, read_photo, write_photo
from codes.restoration.kernel_spec import parse_kernel
from codes.restoration.masks import checked_mask, read_mask, without_gaps
from codes.restoration.metadata import Metadata
from codes.restoration.orientation import SURE, judge, warn_if_rotated
from codes.restoration.pixels import pixels_to_values, values_to_pixels
from codes.utils.errors import UserError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(("suffix", "dtype", "channels"), [
    (".png", np.uint8, (1, 2, 3, 4)), (".png", np.uint16, (1, 3, 4)), (".tif", np.uint8, (1, 2, 3, 4)),
    (".tiff", np.float32, (1, 2, 3, 4)), (".tif", np.float64, (3,)), (".bmp", np.uint8, (1, 3)),
    (".jpg", np.uint8, (1, 3)),
])  # fmt: skip
def test_every_kind_of_image_comes_back(tmp_path, random, capsys, suffix, dtype, channels):
    for count in channels:
        smooth = cv2.resize(random.uniform(size=(4, 4, count)), (15, 12)).reshape(12, 15, count)
        pixels = (smooth * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1)).astype(dtype)
        write_photo(tmp_path / f"a{suffix}", Photo(pixels, Metadata()))
        read = read_photo(tmp_path / f"a{suffix}").pixels
        assert read.dtype == pixels.dtype
        np.testing.assert_allclose(read.astype(float), pixels, atol=24 if suffix == ".jpg" else 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_orientation_profile_and_resolution_are_kept(tmp_path, random, suffix, orientation):
    pixels = random.randint(0, 256, (12, 15, 3)).astype(np.uint8)
    path, data = tmp_path / f"a{suffix}", Image.Exif()
    data[274] = orientation
    Image.fromarray(pixels).save(path, exif=data.tobytes(), icc_profile=SRGB, quality=100, dpi=(300, 150))
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photo(path)
    tolerance = 12 if suffix == ".jpg" else 0
    np.testing.assert_allclose(photo.pixels.astype(int), shown, atol=tolerance)
    deep = Photo(photo.pixels.astype(np.uint16) * 257, photo.metadata)
    for target, made in ((f"b{suffix}", photo), ("deep.png", deep)):
        write_photo(tmp_path / target, made)
        with Image.open(tmp_path / target) as written:
            assert written.getexif().get(274, 1) == orientation
            if written.format != "TIFF":  # Pillow rotates a TIFF when it reads it
                assert written.size == (15, 12), "stored as in the input"
        again = read_photo(tmp_path / target)
        assert (again.metadata.orientation, again.metadata.icc_profile) == (orientation, SRGB)
        assert again.metadata.dpi == pytest.approx((300, 150), abs=0.02)
        np.testing.assert_allclose(again.pixels.astype(float), made.pixels, atol=2 * tolerance)
    write_photo(tmp_path / "b.bmp", photo)  # BMP has no orientation tag
    np.testing.assert_array_equal(read_photo(tmp_path / "b.bmp").pixels, photo.pixels)
    assert read_photo(tmp_path / "b.bmp").metadata.dpi == pytest.approx(photo.metadata.dpi, abs=0.02)


def test_damaged_or_strange_metadata_are_ignored(tmp_path, random):
    pixels = random.randint(0, 256, (12, 15, 3)).astype(np.uint8)
    tags = [(282, "2I", 1, (1, 0), True), (33434, "B", 3, b"abc", True), (34665, "I", 1, 2**31, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", metadata=None, extratags=tags)
    assert read_photo(tmp_path / "a.tif").metadata == Metadata()
    Image.fromarray(pixels).save(tmp_path / "c.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffdamaged")
    assert read_photo(tmp_path / "c.jpg").metadata.orientation == 1
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png", icc_profile=SRGB)
    write_photo(tmp_path / "d.png", read_photo(tmp_path / "grey.png"))
    assert read_photo(tmp_path / "d.png").metadata.icc_profile is None, "a profile of colours for a grey image"


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
    write_photo(tmp_path / "b.png", Photo(np.full((4, 5, 2), 900, np.uint16), Metadata()))
    assert (read_photo(tmp_path / "b.png").pixels[..., [0, 3]] == 900).all()
    assert "b.png: grey with alpha cannot be written as png of this depth" in capsys.readouterr().err


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits"])
def test_compressed_and_planar_tiff_with_a_thumbnail(tmp_path, random, compression):
    pixels = random.randint(0, 65536, (12, 15, 3)).astype(np.uint16)
    for stored, planar in ((pixels, "contig"), (pixels.transpose(2, 0, 1), "separate")):
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            file.write(stored, photometric="rgb", planarconfig=planar, compression=compression, metadata=None)
            file.write(pixels[::2, ::2, 0], photometric="minisblack", subfiletype=1, metadata=None)
        np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, pixels)


def tiff_with(**keys) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, **{"data": np.full((9, 8, 4), 90, np.uint8), "photometric": "rgb", **keys})
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"no image at all", "not a readable image"),
        ("cut.tif", tiff_with(data=np.ones((40, 40, 3), np.uint16))[:900], "not a readable TIFF"),
        ("cmyk.tif", tiff_with(photometric="separated"), "of kind SEPARATED"),
        ("bits.tif", tiff_with(data=np.ones((9, 9), bool), photometric="minisblack"), "with 1 bits"),
        ("inverted.tif", tiff_with(data=np.ones((9, 9), np.uint8), photometric="miniswhite"), "of kind MINISWHITE"),
        ("pages.tif", tiff_with(data=np.ones((2, 9, 9), np.uint8), photometric="minisblack"), "holds 2 images; store"),
        ("stack.tif", tiff_with(data=np.ones((3, 9, 9), np.uint8), photometric="minisblack", volumetric=True), "axes"),
        ("alpha.tif", tiff_with(extrasamples=["assocalpha"]), "by alpha"),
    ],
)
def test_impossible_images_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_photo(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageWidth": 60_000, "ImageLength": 60_000}, "claims 14,400,000,000 values"),
        ({"ImageLength": 0}, "not a readable TIFF"),
        ({"StripByteCounts": 0}, "missing from the file"),
    ],
)
def test_a_tiff_with_a_wrong_size_is_refused(tmp_path, tags, message):
    (tmp_path / "a.tif").write_bytes(tiff_with(extrasamples=["unassalpha"]))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        for tag, value in tags.items():
            file.pages[0].tags[tag].overwrite(value)
    with pytest.raises(UserError, match=message):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize(("most", "white"), [(1e-4, 1e-4), (0.4, 0.4), (0.5, 1.0), (3.0, 3.0), (0.0, 1.0)])
def test_the_white_level(random, most, white):
    pixels = (most * random.uniform(size=(64, 64, 3))).astype(np.float32)
    pixels[0, 0] = most
    values = pixels_to_values(pixels)
    assert values.white == pytest.approx(white)
    np.testing.assert_allclose(values_to_pixels(values, pixels.dtype), pixels, rtol=1e-6)
    # A result beyond the white level is clamped only if the image itself stays below 1.
    brighter = values_to_pixels(values._replace(colours=2 * values.colours), pixels.dtype)
    np.testing.assert_allclose(brighter, 2 * pixels if most > 1 else np.minimum(2 * pixels, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.zeros((0, 4)), "an image is"), (np.zeros((4, 4), np.int32), "type int32"), (np.full((4, 4), 1e300), "finite")],
)
def test_impossible_pixels(pixels, message):
    with pytest.raises(UserError, match=message):
        pixels_to_values(pixels)


@pytest.mark.parametrize(("length", "angle"), [(0, 0), (0.5, 90), (3, 30), (7.3, -120), (20, 0), (20, 30)])
def test_motion_is_a_symmetric_line_of_its_length_and_angle(length, angle):
    kernel = motion(length, angle)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    rows, columns = np.indices(kernel.shape) - kernel.shape[0] // 2
    covariance = np.cov(np.stack([columns.ravel(), -rows.ravel()]), aweights=kernel.ravel(), ddof=0)
    # Along the line: the variance of a uniform distribution, plus up to half a pixel^2 of anti-aliasing.
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    assert 0 <= direction @ covariance @ direction - length**2 / 12 <= 0.5 + 1e-9
    across = np.array([-direction[1], direction[0]])
    assert across @ covariance @ across <= 0.5 + 1e-9


def test_specifications(tmp_path, monkeypatch):
    assert parse_kernel("disk:4").shape == (9, 9)
    axis = np.arange(17) - 8
    assert (parse_kernel("gaussian:2") * axis**2).sum() == pytest.approx(4, rel=0.01)
    np.testing.assert_array_equal(parse_kernel("motion:9,45"), motion(9, 45))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk:4").write_bytes(b"a file of that name comes first")
    with pytest.raises(UserError, match="not a readable image"):
        parse_kernel("disk:4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("motion:15", "write motion:LENGTH,ANGLE"),
        ("gaussian:nan", "write motion"),
        ("disk:-1", "0 to"),
        ("gaussian:1e9", "0 to"),
        ("blur:3", "no such file; without a file, write motion"),
    ],
)
def test_impossible_specifications(text, message):
    with pytest.raises(UserError, match=message):
        parse_kernel(text)


def test_masks(tmp_path, random):
    mask = (random.uniform(size=(8, 9)) > 0.3).astype(np.uint8) * 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    read = read_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(checked_mask(read, (8, 9), "a"), mask / 255)
    with pytest.raises(UserError, match=r"the mask has \(8, 9\) values, the image \(9, 8\) pixels"):
        checked_mask(read, (9, 8), "a")
    with pytest.raises(UserError, match="leaves out every pixel"):
        checked_mask(np.zeros((3, 3)), (3, 3), "a")
    image = np.full((7, 7, 3), 0.5, np.float32)
    image[3, 3, 1] = 1
    assert clipped_highlights(np.array([[[1.0], [0.0]]])).all()  # every pixel is clipped or next to one
    auto = clipped_highlights(image)
    assert auto.sum() == 49 - 9
    assert not auto[2:5, 2:5].any()


@pytest.fixture(scope="module")
def photograph():
    """A blurry photograph (256, 320, 3) from 0 to 1 with its kernel (7, 7), and the sharp one, uint8."""
    sharp = quickstart()[0].image
    kernel = camera_shake(np.random.RandomState(2), 7)
    return with_noise(blurred(sharp / 255, kernel), 0.01, seed=0) / np.float32(255), kernel, sharp


def test_the_right_way_round_is_found(photograph, monkeypatch):
    blurry, kernel, _ = photograph
    right, wrong = judge(blurry, kernel), judge(blurry, rotated(kernel))
    assert (right.rotated, wrong.rotated) == (False, True)
    assert right.certainty == wrong.certainty > 0.9
    assert right.explains
    coloured = np.stack([kernel] * 3, 2)
    assert judge(blurry, coloured).rotated is False
    assert judge(blurry, rotated(coloured)).rotated is True
    # The busiest part of a large image decides.
    monkeypatch.setattr("codes.restoration.orientation.LARGEST_SIDE", 128)
    large = np.full((500, 700, 3), 0.5, np.float32)
    large[250:506, 300:620] = blurry[:250]
    assert judge(large, kernel).rotated is False
    assert judge(large, rotated(kernel)).rotated is True


def test_a_sharp_image_is_not_explained(photograph):
    sharp = photograph[2] / np.float32(255)
    assert not judge(sharp, photograph[1]).explains
    symmetric = judge(sharp, motion(15, 30))
    assert (symmetric.symmetric, symmetric.rotated, symmetric.explains) == (True, False, False)


def test_dead_pixels_under_a_mask_do_not_mislead(photograph):
    random = np.random.RandomState(0)
    blurry, kernel, _ = photograph
    dead, hot = random.uniform(size=(2, 256, 320)) < np.array([0.01, 0.5])[:, None, None]
    damaged = np.where(dead[..., None], hot[..., None], blurry).astype(np.float32)
    assert not judge(damaged, kernel).explains
    mended = without_gaps(damaged, (~dead).astype(np.float32))
    for shaken, turned in ((kernel, False), (rotated(kernel), True)):
        verdict = judge(mended, shaken)
        assert (verdict.rotated, verdict.explains) == (turned, True)


def test_a_small_image_gives_no_certain_verdict(photograph):
    verdict = judge(photograph[0][:16, :16], rotated(photograph[1]))
    assert 0.5 <= verdict.certainty < SURE
    assert not verdict.rotated
    for size in ((1, 1), (3, 3), (1, 40)):
        assert not judge(np.full((*size, 3), 0.3, np.float32), np.ones((1, 1))).rotated


def test_a_test_set_whose_kernels_are_rotated_is_warned_of(tmp_path, photograph, capsys):
    sharp, random = photograph[2], np.random.RandomState(3)
    for name in "abc":
        kernel = write_kernel(tmp_path / "as is" / f"{name}.png", camera_shake(random, 9))
        write_kernel(tmp_path / "rotated" / f"{name}.png", rotated(kernel))
        write_8bit(tmp_path / "blurry" / f"{name}.png", with_noise(blurred(sharp / 255, kernel), 0.01, 0))
    (tmp_path / "rotated" / "a.png").write_bytes(b"damaged")  # codes/test.py reports it later
    for name, expected in (("as is", False), ("rotated", True)):
        dataset = TripleDataset(tmp_path / "blurry", tmp_path / "blurry", tmp_path / name)
        warn_if_rotated("own", dataset)
        assert ("own: the kernels explain the blur only when rotated" in capsys.readouterr().err) == expected
