"""The report of a run: its content, its size and, in a browser, its use."""

import json
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from playwright.sync_api import sync_playwright

from codes import test as test_script
from codes.data import preparation
from codes.data.kernel_generator import camera_shake
from codes.report.page import build
from codes.report.run import read_run
from codes.scripts import make_report
from codes.utils.errors import run_command_line
from codes.utils.files import read_csv, write_csv
from tests.conftest import chromium

SETS = ("CBSD_n01", "CBSD_n05")
WIENER = {"which_model_G": "Wiener", "balance": {0.01: 0.0068, 0.05: 0.32}}
METHODS = {
    "Blurry": {"network_G": {"which_model_G": "Blurry"}},
    "Wiener": {"network_G": WIENER},
    "x0": {"label": "x0 (start)", "network_G": {"which_model_G": "Initial"}},
}
LABELS = ("Blurry", "Wiener", "x0 (start)")
PLAIN, MARKUP, ENTITY = "plain", "<!--<script><img src=x onerror=boom()>", "&lt;b&amp;#%41?\"'ü {{x}}"
NAMES = (PLAIN, MARKUP, ENTITY)


def test_run(folder: Path, **keys) -> Path:
    """Run codes/test.py on the images of `folder`/CBSD; returns results/<name>."""
    options = {
        "name": "trial",
        "gpu_ids": [],
        "datasets": {
            name: {
                "name": name,
                "mode": "LQGTDB",
                "dataroot_GT": str(folder / "CBSD" / "GT"),
                "dataroot_LQ": str(folder / "CBSD" / f"Noise_{name[-2:]}"),
                "dataroot_KM": str(folder / "CBSD" / "Kernel"),
                "noise_sigma": int(name[-2:]) / 100,
            }
            for name in SETS
        },
        **keys,
    }
    (folder / "options.yml").write_text(yaml.safe_dump(options))
    arguments = ["-opt", str(folder / "options.yml"), "--results", str(folder / "results")]
    assert run_command_line(test_script.main, arguments) == 0
    return folder / "results" / options["name"]


test_run.__test__ = False


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A small set of images whose names hold what HTML, JavaScript and URLs are made of."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.RandomState(0)
    sharp = [
        preparation.Sharp(name, random.randint(0, contrast, (40, 56, 3)).astype(np.uint8), camera_shake(random, 9))
        for name, contrast in zip(NAMES, (60, 120, 250), strict=True)
    ]
    preparation.build_shared(folder / "CBSD", sharp, iter)
    return folder


@pytest.fixture(scope="module")
def run(images) -> Path:
    """A run of three methods, one restored image gone, one image restored perfectly, one not scored."""
    folder = test_run(images, methods=METHODS)
    (folder / "Wiener" / SETS[0] / f"{MARKUP}.png").unlink()
    scores = read_csv(folder / "Wiener" / "per_image.csv")
    scores[0]["psnr"] = "inf"
    write_csv(folder / "Wiener" / "per_image.csv", scores[:-1], list(scores[0]))
    return folder


@pytest.fixture(scope="module")
def report(run) -> Path:
    assert run_command_line(make_report.main, ["trial", "--results", str(run.parent)]) == 0
    return run / "report.html"


def content_of(page: str) -> dict:
    """The data and the pictures inside a page."""
    found = {key: re.search(rf'id="{key}">(.*?)</script>', page, re.DOTALL)[1] for key in ("data", "pictures")}
    return {key: json.loads(text) for key, text in found.items()}


def test_holds_every_image_once(report, run):
    content = content_of(report.read_text(encoding="utf-8"))
    data = content["data"]
    assert [(data["sets"][image["set"]], image["name"]) for image in data["images"]] == [
        (name, image) for name in SETS for image in sorted(NAMES)
    ]
    assert data["methods"] == list(LABELS)
    # The method that returns its input is the input, not a version of its own.
    assert [version["label"] for version in data["versions"]] == ["Blurry input", *LABELS[1:], "Ground truth"]
    for image in data["images"]:
        for link, picture in zip(image["links"], image["pictures"], strict=True):
            assert (link is None) == (picture is None)
            if link:
                assert (run / unquote(link)).is_file()
    assert len(set(content["pictures"])) == len(content["pictures"])
    truths = {image["pictures"][-1] for image in data["images"]}
    assert len(truths) == len(NAMES), "the same ground truth of two noise levels is stored once"


def test_tables_are_the_papers_arrangement(report, run):
    text = report.read_text(encoding="utf-8")
    assert '<th scope="col">BSD100 1 %</th>' in text
    summary = {(row["method"], row["set"]): row for row in read_csv(run / "summary.csv")}
    wiener = summary["Wiener", "CBSD_n01"]
    assert f"<td>{float(wiener['psnr']):.2f} / {float(wiener['ssim']):.3f}</td>" in text
    published = re.findall(r'<tr class="published"><th scope="row">(.*?)</th>', text)
    assert "DSDNet <small>paper</small>" in published
    assert not any(label in row for row in published for label in LABELS)


def test_a_single_network_and_a_suffix(images):
    folder = test_run(images, name="single", suffix="r", network_G=WIENER, max_images=1)
    assert run_command_line(make_report.main, ["single", "--results", str(folder.parent)]) == 0
    text = (folder / "report.html").read_text(encoding="utf-8")
    data = content_of(text)["data"]
    assert [version["label"] for version in data["versions"]] == ["Blurry input", "single", "Ground truth"]
    assert all(unquote(image["links"][1]).endswith("_r.png") for image in data["images"])
    assert all(None not in image["pictures"] for image in data["images"])
    assert "Only the first 1 of each set were run" in text


def test_scores_without_any_image(run, tmp_path, capsys):
    """What is left of a run where neither the restored images nor the test sets are there."""
    shutil.copytree(run, tmp_path / "trial", ignore=shutil.ignore_patterns("*.png"))
    options = tmp_path / "trial" / "options.yml"
    options.write_text(options.read_text().replace("/CBSD/", "/gone/"))
    assert run_command_line(make_report.main, ["trial", "--results", str(tmp_path)]) == 0
    assert "CBSD_n01 without ground truths, blurry images and kernels: " in capsys.readouterr().err
    data = content_of((tmp_path / "trial" / "report.html").read_text(encoding="utf-8"))["data"]
    assert len(data["images"]) == 6
    assert {picture for image in data["images"] for picture in image["pictures"]} == {None}
    assert {link for image in data["images"] for link in image["links"]} == {None}


def test_a_damaged_image_is_left_out(images, run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "trial")
    (tmp_path / "trial" / "Wiener" / SETS[1] / "plain.png").write_bytes(b"damaged")
    data = content_of(build(read_run(tmp_path / "trial")))["data"]
    assert capsys.readouterr().err.count("plain.png: not a readable image") == 1
    plain = data["images"][-1]
    assert (plain["name"], plain["pictures"][1]) == ("plain", None)
    assert plain["pictures"][2] is not None


def test_previews_keep_to_their_limit(run):
    """They get smaller, and at last there are none for some of the images, which the page says."""
    found = []
    for limit in (60_000, 20_000, 3_000):
        text = build(read_run(run), limit)
        content = content_of(text)
        assert sum(map(len, content["pictures"])) <= limit
        found.append(sum("pictures" in image for image in content["data"]["images"]))
        assert (f"holds previews of {found[-1]} of the 6 images only" in text) == (found[-1] < 6)
    assert found[0] == 6
    assert found[-1] < 6


def rename(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: shutil.rmtree(run), "no finished run"),
        (lambda run: (run / "summary.csv").unlink(), "no finished run"),
        (lambda run: (run / "Wiener" / "per_image.csv").unlink(), "per_image.csv: no such file"),
        (lambda run: rename(run / "summary.csv", "Wiener", "Weiner"), "name different methods or sets"),
        (lambda run: rename(run / "summary.csv", "psnr_y", "other"), "the columns are those of another version"),
    ],
)
def test_mistakes_end_in_one_line(run, tmp_path, capsys, spoil, message):
    shutil.copytree(run, tmp_path / "trial", ignore=shutil.ignore_patterns("report.html"))
    spoil(tmp_path / "trial")
    assert run_command_line(make_report.main, ["trial", "--results", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert message in error
    assert not (tmp_path / "trial" / "report.html").exists()


# In the browser


@pytest.fixture(scope="module")
def browser():
    program = chromium()
    flags = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    flags += ["disable-component-update", "disable-sync"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=[f"--{flag}" for flag in flags])
        yield running
        running.close()


def wait_until(page, condition: str, seconds: float = 30) -> None:
    """Wait until a JavaScript expression is true. The page's security policy refuses playwright's wait_for_function."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


LOADED = "[...document.querySelectorAll('.layer img')].every((image) => image.naturalWidth)"


class Tab:
    """A page of the browser, with all its console messages and requests."""

    def __init__(self, browser, file: Path, **settings):
        self.page = browser.new_page(**settings)
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        wait_until(self.page, LOADED)

    def styles(self, selector: str, key: str) -> list[str]:
        return self.page.eval_on_selector_all(selector, f"elements => elements.map((e) => e.style.{key})")

    def rows(self) -> list[list[str]]:
        """The texts of the list's rows: image, set, and three numbers for each method."""
        script = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        return self.page.eval_on_selector_all("#list tbody tr", script)

    def choose(self, set_name: str, image: str) -> None:
        self.page.locator("#set").select_option(set_name)
        self.page.locator("#image").select_option(image)
        assert self.page.locator("#list tr.chosen").text_content().startswith(image + set_name)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag on the stage, between points given as fractions of its size."""
        box = self.page.locator("#stage").bounding_box()
        for (x, y), act in ((start, self.page.mouse.down), (end, self.page.mouse.up)):
            self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
            act()


@pytest.fixture
def tab(browser, report):
    """The open report. At the end there must be no complaint, and only data may have been loaded."""
    opened = Tab(browser, report)
    yield opened
    opened.page.close()
    assert opened.complaints == []
    assert {url for url in opened.requests if not url.startswith("data:")} == {report.as_uri()}


def test_names_are_text(tab):
    assert tab.page.locator("img").count() == 3
    assert {row[0] for row in tab.rows()} == set(NAMES)
    tab.choose(SETS[1], MARKUP)
    assert tab.page.locator("#left-layer img").get_attribute("alt") == f"Blurry input of {MARKUP}"


def test_divider(tab):
    page = tab.page
    tab.choose(SETS[1], PLAIN)
    middle = page.locator("#stage").screenshot()
    tab.drag((0.5, 0.1), (0.8, 0.1))
    assert float(page.locator("#slider").input_value()) == pytest.approx(80, abs=1)
    shown = [float(re.search(r"([\d.]+)%", clip)[1]) for clip in tab.styles(".layer", "clipPath")]
    assert shown == pytest.approx([20, 80], abs=1)
    assert page.locator("#stage").screenshot() != middle
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    assert tab.styles(".layer", "clipPath")[1] == "inset(0px 0px 0px 0%)"
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    assert tab.styles(".layer", "clipPath")[1] == "inset(0px 0px 0px 2%)"


def test_zoom_and_pan(tab):
    """Both versions move together."""
    page, whole = tab.page, ["translate(0%, 0%) scale(1)"] * 2
    assert tab.styles(".layer img", "transform") == whole
    page.locator("#stage").hover()
    page.mouse.wheel(0, -300)
    wait_until(page, "document.getElementById('zoom').textContent !== '1.0\u00d7'")
    zoomed = tab.styles(".layer img", "transform")
    assert zoomed[0] == zoomed[1] != whole[0]
    tab.drag((0.1, 0.1), (0.2, 0.2))
    panned = tab.styles(".layer img", "transform")
    assert panned[0] == panned[1] != zoomed[0]
    assert panned[0].partition("scale")[2] == zoomed[0].partition("scale")[2]
    assert tab.styles(".layer", "clipPath")[1] == "inset(0px 0px 0px 50%)", "panning leaves the divider"
    page.get_by_role("button", name="Fit").click()
    assert tab.styles(".layer img", "transform") == whole
    page.get_by_role("button", name="Zoom in").click()
    picture, stage = (page.locator(place).bounding_box() for place in ("#left-layer img", "#stage"))
    assert picture["width"] == pytest.approx(1.5 * stage["width"], rel=1e-3)
    assert picture["x"] + picture["width"] / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=1)
    page.locator("#stage").focus()
    page.keyboard.press("-")
    assert tab.styles(".layer img", "transform") == whole


def test_sort_and_filter(tab, run):
    scores = {(row["image"], row["set"]): float(row["psnr"]) for row in read_csv(run / "x0" / "per_image.csv")}
    header = tab.page.get_by_role("button", name="x0 (start): PSNR in dB")
    header.click()
    descending = [(row[0], row[1]) for row in tab.rows()]
    assert descending == sorted(scores, key=scores.get, reverse=True)
    header.press("Enter")
    assert [(row[0], row[1]) for row in tab.rows()] == descending[::-1]
    assert tab.page.locator("th[aria-sort=ascending] button").get_attribute("aria-label") == "x0 (start): PSNR in dB"
    # An infinite score is the highest; an image without a score is last in either order.
    wiener = tab.page.get_by_role("button", name="Wiener: PSNR in dB")
    wiener.click()
    assert [row[5] for row in tab.rows()][:: len(scores) - 1] == ["\u221e", "\u2013"]
    wiener.click()
    assert [row[5] for row in tab.rows()][-2:] == ["\u221e", "\u2013"]

    search = tab.page.get_by_label("Filter")
    search.fill(f"{SETS[1]}/PLAIN")
    assert [row[:2] for row in tab.rows()] == [[PLAIN, SETS[1]]]
    assert tab.page.locator("#count").text_content() == "1 of 6 images"
    search.fill("nothing has this name")
    assert tab.rows() == []


def test_from_the_list_to_the_viewer(tab):
    page = tab.page
    page.locator("#list tbody tr", has_text=SETS[1]).get_by_role("button", name=ENTITY).click()
    assert page.locator("#image option:checked").text_content() == ENTITY
    assert page.locator("#set option:checked").text_content() == SETS[1]
    assert page.locator("#list tr.chosen").count() == 1
    wait_until(page, "document.querySelector('#kernel figcaption').textContent")
    assert page.locator("#kernel figcaption").text_content() == "kernel, 9 \u00d7 9"


def test_a_missing_image(tab):
    page = tab.page
    tab.choose(SETS[0], MARKUP)
    page.locator("#right").select_option("Wiener (no image)")
    assert page.locator("#right-layer img").is_hidden()
    assert page.locator("#right-layer p").text_content() == "Wiener: no image"
    assert page.locator("#left-layer img").is_visible()
    page.get_by_role("button", name="Next").click()
    assert page.locator("#right-layer img").is_visible()


def test_full_size_files(browser, report, tmp_path):
    """Next to the report they are shown; if they are missing, the previews stay."""
    near = Tab(browser, report)
    near.choose(SETS[1], ENTITY)
    near.page.get_by_label("Full-size files").check()
    wait_until(near.page, "document.querySelectorAll('.layer img[data-full=yes]').length === 2")
    sources = near.page.eval_on_selector_all(".layer img", "images => images.map((image) => image.src)")
    assert all(source.startswith("file:") and source.endswith(".png") for source in sources)
    assert near.complaints == []
    near.page.close()

    shutil.copyfile(report, tmp_path / "alone.html")
    alone = Tab(browser, tmp_path / "alone.html")
    alone.page.locator("#full").check()
    wait_until(alone.page, "document.getElementById('resolution').textContent.includes('cannot be shown')")
    wait_until(alone.page, LOADED)
    alone.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(browser, report, scheme):
    """Only tables scroll sideways, the colours follow the system, and every control and image has a name."""
    phone = Tab(browser, report, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colour = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
    nameless = phone.page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [tabindex], .layer img:not([hidden])")]
        .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length
            || e.textContent.trim() || e.alt)).map((e) => e.outerHTML)"""
    )
    assert nameless == []
    phone.page.close()
