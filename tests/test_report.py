"""The report of a run: its content, its size, and how a browser shows it."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from playwright.sync_api import sync_playwright

from codes import test as test_script
from codes.data import preparation
from codes.data.kernel_generator import camera_shake
from codes.scripts import make_report
from codes.utils.errors import run_command_line
from codes.utils.files import read_csv, write_csv
from tests.conftest import chromium, one_error, roots_of

SETS = ("CBSD_n01", "CBSD_n05")
WIENER = {"which_model_G": "Wiener", "balance": {0.01: 0.0068, 0.05: 0.32}}
METHODS = {
    "Blurry": {"network_G": {"which_model_G": "Blurry"}},
    "Wiener": {"network_G": WIENER},
    "x0": {"label": "x0 (start)", "network_G": {"which_model_G": "Initial"}},
}
LABELS = ("Blurry", "Wiener", "x0 (start)")
MARKUP, ENTITY = "<!--<script><img src=x onerror=boom()>", "&lt;b&amp;#%41?\"'ü {{x}}"
NAMES = ("plain", MARKUP, ENTITY)


def evaluated(folder: Path, **keys) -> Path:
    """Run codes/test.py on the images of `folder`/CBSD; returns results/<name>."""
    datasets = {
        name: {"name": name, "mode": "LQGTDB", "noise_sigma": int(name[-2:]) / 100}
        | roots_of(folder / "CBSD", f"Noise_{name[-2:]}")
        for name in SETS
    }
    options = {"name": "trial", "gpu_ids": [], "datasets": datasets, **keys}
    (folder / "options.yml").write_text(yaml.safe_dump(options))
    arguments = ["-opt", str(folder / "options.yml"), "--results", str(folder / "results")]
    assert run_command_line(test_script.main, arguments) == 0
    return folder / "results" / options["name"]


def reported(folder: Path, name: str = "trial") -> dict:
    """Make the report of <folder>/<name>; returns the data inside the page."""
    assert run_command_line(make_report.main, [name, "--results", str(folder)]) == 0
    return content_of(folder / name / "report.html")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A small set of images whose names hold what HTML, JavaScript and URLs are made of."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.RandomState(0)
    sharp = [
        preparation.Sharp(name, random.randint(0, contrast, (40, 56, 3)).astype(np.uint8), camera_shake(random, 9))
        for name, contrast in zip(NAMES, (60, 120, 250), strict=True)
    ]
    preparation.synthesise(folder / "CBSD", sharp)
    return folder


@pytest.fixture(scope="module")
def run(images) -> Path:
    """A run of three methods, one restored image gone, one image restored perfectly, one not scored."""
    folder = evaluated(images, methods=METHODS)
    (folder / "Wiener" / SETS[0] / f"{MARKUP}.png").unlink()
    scores = read_csv(folder / "Wiener" / "per_image.csv")
    scores[0]["psnr"] = "inf"
    write_csv(folder / "Wiener" / "per_image.csv", scores[:-1], list(scores[0]))
    return folder


@pytest.fixture(scope="module")
def report(run) -> Path:
    assert run_command_line(make_report.main, ["trial", "--results", str(run.parent)]) == 0
    return run / "report.html"


def content_of(report: Path) -> dict:
    """The data inside a page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', report.read_text(encoding="utf-8"), re.DOTALL)[1])


def test_holds_every_image_in_every_version(report, run):
    data = content_of(report)
    assert [image["name"] for image in data["images"]] == [
        f"{own_set} / {name}" for own_set in SETS for name in sorted(NAMES)
    ]
    # The method that returns its input is the input, not a version of its own.
    assert data["labels"] == ["Blurry input", *LABELS[1:], "Ground truth"]
    for image in data["images"]:
        for link, picture in zip(image["links"], image["pictures"], strict=True):
            assert (link is None) == (picture is None)
            assert link is None or (run / unquote(link)).is_file()
    assert sum(None in image["links"] for image in data["images"]) == 1


def test_tables_are_the_papers_arrangement(report, run):
    text = report.read_text(encoding="utf-8")
    assert "<th>BSD100 1 %</th>" in text
    summary = {(row["method"], row["set"]): row for row in read_csv(run / "summary.csv")}
    wiener = summary["Wiener", "CBSD_n01"]
    assert f"<td>{float(wiener['psnr']):.2f} / {float(wiener['ssim']):.3f}</td>" in text
    published = re.findall(r"<tr><th>([^<]*\(paper\))</th>", text)
    assert "DSDNet (paper)" in published
    assert not any(label in row for row in published for label in LABELS)


def test_a_single_network_and_a_suffix(images):
    folder = evaluated(images, name="single", suffix="r", network_G=WIENER, max_images=1)
    data = reported(folder.parent, "single")
    assert data["labels"] == ["Blurry input", "single", "Ground truth"]
    assert all(unquote(image["links"][1]).endswith("_r.png") for image in data["images"])
    assert all(None not in image["pictures"] for image in data["images"])
    assert "Only the first 1 images of each set were run" in (folder / "report.html").read_text(encoding="utf-8")


def test_scores_without_any_image(run, tmp_path, capsys):
    """What is left of a run where neither the restored images nor the test sets are there."""
    shutil.copytree(run, tmp_path / "trial", ignore=shutil.ignore_patterns("*.png"))
    options = tmp_path / "trial" / "options.yml"
    options.write_text(options.read_text().replace("/CBSD/", "/gone/"))
    data = reported(tmp_path)
    assert "CBSD_n01 without ground truths, blurry images and kernels: " in capsys.readouterr().err
    assert len(data["images"]) == 6
    assert {item for image in data["images"] for item in (*image["pictures"], *image["links"])} == {None}


def test_a_damaged_image_is_left_out(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "trial")
    (tmp_path / "trial" / "Wiener" / SETS[1] / "plain.png").write_bytes(b"damaged")
    plain = reported(tmp_path)["images"][-1]
    assert capsys.readouterr().err.count("plain.png: not a readable image") == 1
    assert [picture is None for picture in plain["pictures"]] == [False, True, False, False]


def test_previews_keep_to_their_limit(run, tmp_path):
    """They get smaller, and at last there are none for some of the images, which the page says."""
    found, page = [], tmp_path / "report.html"
    for limit in (60_000, 20_000, 12_000):
        page.write_text(make_report.build(run, limit), encoding="utf-8")
        pictures = [image["pictures"] for image in content_of(page)["images"]]
        assert sum(len(uri) for of_image in pictures for uri in of_image if uri) <= limit
        found.append(sum(any(of_image) for of_image in pictures))
        assert (f"only {found[-1]} of the 6 images have one" in page.read_text()) == (found[-1] < 6)
    assert found[0] == 6
    assert found[-1] < 6


def test_a_run_that_is_not_finished_is_one_line(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "trial", ignore=shutil.ignore_patterns("report.html", "summary.csv"))
    assert run_command_line(make_report.main, ["trial", "--results", str(tmp_path)]) == 1
    assert "no finished run" in one_error(capsys)
    assert not (tmp_path / "trial" / "report.html").exists()


def test_in_a_browser(report):
    """Names are text, each control and image has an accessible name, and on a phone only tables scroll sideways.

    There is no complaint, and nothing but data is loaded.
    """
    program, complaints, requests = chromium(), [], []
    flags = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[f"--{flag}" for flag in flags])
        page = browser.new_page(viewport={"width": 360, "height": 740})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        nameless = """() => [...document.querySelectorAll("button, select, input, [tabindex], img:not([hidden])")]
            .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length
                || e.textContent.trim() || e.alt)).map((e) => e.outerHTML)"""
        assert page.evaluate(nameless) == []
        assert page.locator("img").count() == 3
        names = page.eval_on_selector_all("#list tbody tr", "rows => rows.map((row) => row.cells[0].textContent)")
        assert names == [f"{own_set} / {name}" for own_set in SETS for name in sorted(NAMES)]
        page.locator("#list").get_by_role("button", name=f"{SETS[1]} / {MARKUP}", exact=True).click()
        assert page.locator("#name").text_content() == f"{SETS[1]} / {MARKUP}"
        assert page.locator("#left-image").get_attribute("alt") == f"Blurry input of {SETS[1]} / {MARKUP}"
        browser.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("data:")} == {report.as_uri()}
