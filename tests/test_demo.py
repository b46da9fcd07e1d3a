"""The page for one's own images: its parts, and all of it in a browser where Gradio and Chromium are there."""

import http.client
import json
import urllib.request

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from scipy.ndimage import correlate

from codes.data.images import to_8bit, write_8bit
from codes.data.kernels import read_kernel
from codes.inference.restorer import Restorer
from codes.restoration.call import restore
from codes.restoration.image_files import read_photo
from codes.restoration.kernel_estimation import preview
from codes.restoration.kernel_spec import parse_kernel
from codes.utils.errors import UserError
from tests.conftest import chromium, small_network


@pytest.fixture(scope="module")
def address():
    pytest.importorskip("gradio", reason="Gradio is not installed (requirements-demo.txt)")
    chromium()
    from codes import demo

    blocks = demo.page(Restorer(small_network()))
    yield demo.serve(blocks, None)
    blocks.close()


@pytest.fixture
def browser(address):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Restore").wait_for()
        yield page
        browser.close()


@pytest.fixture
def photograph(tmp_path):
    write_8bit(tmp_path / "blurry.png", to_8bit(np.random.RandomState(0).uniform(size=(48, 64, 3))))
    (tmp_path / "bad.npy").write_bytes(b"no kernel")
    return tmp_path


def upload(page, path) -> None:
    """Into the page's field that takes such a file, and wait until it is there."""
    suffix = ".npy" if path.suffix == ".npy" else ".jpg"
    page.locator(f"input[type=file][accept*='{suffix}']").first.set_input_files(path)
    page.get_by_text(path.stem).first.wait_for()


def error_of(page) -> str:
    page.get_by_test_id("toast-body").first.wait_for()
    return page.get_by_test_id("toast-body").first.inner_text()


def preview_of(page):
    """The preview of the uploaded image, which shows up by itself."""
    preview = page.get_by_test_id("detailed-image").or_(page.locator(".image-frame img")).first
    preview.wait_for()
    return preview


def test_upload_and_restore(browser, photograph):
    upload(browser, photograph / "blurry.png")
    assert preview_of(browser).evaluate("image => [image.naturalWidth, image.naturalHeight]") == [64, 48]
    browser.get_by_label("motion:").fill("gaussian:1.2")
    browser.get_by_role("button", name="Restore").click()
    for note in ("seconds", "kernel 11x11", "% of full scale (estimated)"):
        browser.get_by_text(note).wait_for()
    slider = browser.locator(".slider-wrap").first
    slider.wait_for()
    assert slider.locator("img").count() == 2


def test_settings_reach_the_restoration(browser, photograph):
    upload(browser, photograph / "blurry.png")
    browser.get_by_text("Settings").click()
    browser.get_by_label("rotated").check()
    browser.get_by_label("Noise:").fill("2")
    browser.get_by_label("srgb", exact=True).check()
    browser.get_by_label("Mask clipped").check()
    browser.get_by_role("button", name="Restore").click()
    browser.get_by_text("noise of 1.85% of full scale", exact=True).wait_for()  # 2% in linear light
    assert browser.get_by_text("sure)").count() == 0  # the orientation was not guessed


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (("rotated", "auto", "auto", False, None), {"orientation": "rotated"}),
        (("as-is", "4", "none", False, None), {"noise": 4.0}),
        (("as-is", "auto", "srgb", False, None), {"gamma": "srgb"}),
        (("as-is", "auto", "auto", True, None), {"mask": "auto"}),
        (("as-is", "auto", "auto", True, "mask.png"), {"mask": np.arange(48)[:, None].repeat(64, 1) >= 8}),
    ],
)
def test_each_setting_changes_the_result_as_in_deblur(address, photograph, settings, arguments):
    from codes.demo import restored

    restorer, path = Restorer(small_network()), photograph / "blurry.png"
    pixels = read_photo(path).pixels
    pixels[20:24, 30:34] = 255
    write_8bit(path, pixels)
    write_8bit(photograph / "mask.png", to_8bit(np.arange(48)[:, None, None].repeat(64, 1) >= 8))
    mask = settings[4] and str(photograph / settings[4])
    kernel = parse_kernel("motion:7,30")
    kernel[: len(kernel) // 2] = 0  # not symmetric
    np.save(photograph / "kernel.npy", kernel)
    (_, after), picture, _ = restored(restorer, str(path), "", str(photograph / "kernel.npy"), *settings[:4], mask)
    kernel /= kernel.sum()
    expected = restore(restorer, pixels, kernel, **{"orientation": "as-is", **arguments})
    np.testing.assert_array_equal(after, expected.pixels)
    np.testing.assert_array_equal(picture, preview(expected.kernel)[..., 0])
    assert (after != restore(restorer, pixels, kernel, "as-is").pixels).any()


def test_noise_that_is_no_number(address, photograph):
    from codes.demo import restored

    with pytest.raises(UserError, match="noise 'much': 'auto' or a percentage"):
        restored(None, str(photograph / "blurry.png"), "disk:2", None, "auto", "much", "auto", False, None)


def test_mistakes_show_an_error(browser, photograph):
    browser.get_by_role("button", name="Restore").click()
    assert "image: choose one first" in error_of(browser)
    browser.reload()
    upload(browser, photograph / "blurry.png")
    upload(browser, photograph / "bad.npy")
    browser.get_by_role("button", name="Restore").click()
    assert "bad.npy: not a readable .npy array" in error_of(browser)


def test_an_example(browser):
    thumbnails = browser.locator("tbody img")
    thumbnails.nth(7).wait_for()  # four images and their kernels
    thumbnails.nth(2).click()
    browser.get_by_text("chelsea").nth(1).wait_for()  # the image and its kernel
    browser.get_by_role("button", name="Restore").click()
    browser.get_by_text("noise of").wait_for()


@pytest.fixture
def scene(tmp_path):
    """sharp.png, and blurry.png with a kernel of 9 pixels; lamp.png, where a point of light at (200, 120) shows it."""
    kernel = parse_kernel("motion:9,30")
    sharp = np.random.RandomState(0).uniform(size=(96, 96, 3))
    lamp = np.zeros((240, 320, 3))
    lamp[120, 200] = 0.9 / kernel.max()
    for name, image in (("sharp", sharp), ("blurry", blurred(sharp, kernel)), ("lamp", blurred(lamp, kernel))):
        write_8bit(tmp_path / f"{name}.png", to_8bit(image))
    return tmp_path, kernel


def blurred(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.stack([correlate(channel, kernel, mode="nearest") for channel in image.transpose(2, 0, 1)], 2)


@pytest.mark.parametrize(
    ("image", "sharp", "point"),
    [("blurry", "sharp.png", (0, 0, 0)), ("lamp", None, (201, 119, 11))],
    ids=["pair", "point"],
)
def test_a_measured_kernel_is_that_of_the_blur(address, scene, image, sharp, point):
    from codes.demo import measured

    folder, kernel = scene
    file, orientation, _, notes = measured(str(folder / f"{image}.png"), sharp and str(folder / sharp), *point)
    found = read_kernel(file)
    margin = (len(found) - len(kernel)) // 2, (found.shape[1] - kernel.shape[1]) // 2
    same = np.pad(kernel, [(max(side, 0), max(side, 0)) for side in margin])
    assert orientation == "as-is"
    assert "explains 9" in notes or "explains 100" in notes
    assert np.corrcoef(same.ravel(), found.ravel())[0, 1] > 0.95


def test_a_kernel_measured_on_the_page(browser, scene):
    folder, _ = scene
    upload(browser, folder / "lamp.png")
    browser.get_by_role("tab", name="Measure").click()
    box = preview_of(browser).bounding_box()
    browser.mouse.click(box["x"] + 200.5 / 320 * box["width"], box["y"] + 120.5 / 240 * box["height"])
    browser.get_by_label("Side", exact=True).fill("11")
    browser.wait_for_function("document.querySelector('input[aria-label=X]').value != '0'")
    x, y = (int(browser.get_by_label(label, exact=True).input_value()) for label in "XY")
    assert abs(x - 200) <= 1
    assert abs(y - 120) <= 1
    browser.get_by_role("button", name="Measure").click()
    browser.get_by_text("of the light around the point").wait_for()
    upload(browser, folder / "blurry.png")
    browser.get_by_role("tab", name="Kernel", exact=True).click()
    browser.get_by_text("measured_kernel").first.wait_for()
    browser.get_by_role("button", name="Restore").click()
    browser.get_by_text("kernel 11x11").wait_for()


def test_gradio_prints_nothing_in_the_terminal(address, capfd):
    from codes import demo

    blocks = demo.page(Restorer(small_network()))
    demo.serve(blocks, None)
    printed = capfd.readouterr().out
    blocks.close()
    assert printed == ""  # such as how to make a public link


def test_the_page_is_for_this_machine_and_uploads_are_limited(address):
    assert address.startswith("http://127.0.0.1:")
    boundary = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = boundary + bytes(34 * 10**6) + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(f"{address}gradio_api/upload", body, headers)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:7860"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "http://127.0.0.1:7860"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_web_sites_do_not_reach_the_page(address, headers, status):
    host, port = address.removeprefix("http://").strip("/").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("GET", "/", headers=headers)
    assert connection.getresponse().status == status
    connection.close()


def test_the_text_field_reads_no_file_of_this_machine(address, tmp_path, monkeypatch):
    from codes.demo import kernel_from

    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "disk:2.npy", np.ones((3, 3)))
    for specification in ("disk:2.npy", str(tmp_path / "disk:2.npy"), None, "motion:" + "1" * 10_000):
        with pytest.raises(UserError, match=r"disk:RADIUS|LENGTH"):
            kernel_from(specification, None)
    assert kernel_from("disk:2", None).shape == (5, 5)


def test_a_request_with_wrong_arguments_is_one_line_in_the_terminal(address, capfd):
    for data in ([], [3, "disk:2", None, "auto", "auto", "auto", False, None]):
        body = json.dumps({"data": data}).encode()
        url = f"{address}gradio_api/call/run"
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{url}/{event}") as reply:
            assert b"event: error" in reply.read()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
