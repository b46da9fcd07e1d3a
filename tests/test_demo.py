"""The page for one's own images: its parts, and all of it in a browser where Gradio and Chromium are there."""

import http.client
import json
import urllib.request

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from codes.data.images import to_8bit, write_8bit
from codes.inference.restorer import Restorer
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
    page.locator(f"input[type=file][accept*='{suffix}']").set_input_files(path)
    page.get_by_text(path.stem).first.wait_for()


def error_of(page) -> str:
    page.get_by_test_id("toast-body").first.wait_for()
    return page.get_by_test_id("toast-body").first.inner_text()


def test_upload_and_restore(browser, photograph):
    upload(browser, photograph / "blurry.png")
    browser.get_by_label("motion:").fill("gaussian:1.2")
    browser.get_by_role("button", name="Restore").click()
    browser.get_by_text("noise about").wait_for()
    browser.get_by_text("kernel 11x11").wait_for()
    slider = browser.locator(".slider-wrap").first
    slider.wait_for()
    assert slider.locator("img").count() == 2


def test_mistakes_show_an_error(browser, photograph):
    browser.get_by_role("button", name="Restore").click()
    assert "image: choose one first" in error_of(browser)
    browser.reload()
    upload(browser, photograph / "blurry.png")
    upload(browser, photograph / "bad.npy")
    browser.get_by_role("button", name="Restore").click()
    assert "bad.npy: not a readable .npy array" in error_of(browser)


def test_an_example(browser):
    browser.get_by_text("chelsea.png").first.click()
    browser.locator(".file-preview").nth(1).wait_for()  # the image and its kernel
    browser.get_by_role("button", name="Restore").click()
    browser.get_by_text("noise about").wait_for()


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
    for data in ([], [3, "disk:2", None]):
        body = json.dumps({"data": data}).encode()
        url = f"{address}gradio_api/call/run"
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{url}/{event}") as reply:
            assert b"event: error" in reply.read()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
