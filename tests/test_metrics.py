"""PSNR and SSIM against the authors' values and a plain numpy version; summaries and tables; peak memory."""

import json

import numpy as np
import pytest
import scipy.signal
import torch

from codes.data.images import read_image, to_8bit
from codes.evaluation.evaluator import ImageScore
from codes.evaluation.metrics import luma, quality
from codes.evaluation.tables import arrange, summarise, to_latex, to_markdown
from codes.utils.errors import UserError
from codes.utils.files import PUBLISHED, ROOT, read_csv
from codes.utils.memory import peak_memory


def test_parity_with_the_authors_metrics(shared):
    cases = json.loads((shared / "parity" / "metrics.json").read_text())
    assert len(cases) == 3
    for case in cases:
        truth = to_8bit(read_image(shared / "data" / case["reference"]))
        distorted = to_8bit(read_image(shared / "parity" / case["distorted"]))
        scores = quality(truth, distorted)
        assert scores.psnr == pytest.approx(case["psnr"], abs=1e-4)
        assert scores.psnr_y == pytest.approx(case["psnr_y"], abs=1e-4)
        assert scores.ssim == pytest.approx(case["ssim"], abs=1e-5)
        assert scores.ssim_y == pytest.approx(case["ssim_y"], abs=1e-5)


def numpy_ssim(a, b):
    """Wang et al.'s SSIM of one channel: 11x11 Gaussian of sigma 1.5, valid region."""
    axis = np.arange(11) - 5
    window = np.exp(-(axis**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def mean(x):
        return scipy.signal.convolve2d(x, window, "valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    return (((2 * mu_a * mu_b + c1) * (2 * cov + c2)) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))).mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_against_plain_numpy(random, channels):
    a = random.randint(0, 256, (30, 41, channels)).astype(np.uint8)
    b = np.clip(a + random.normal(0, 20, a.shape), 0, 255).astype(np.uint8)
    scores = quality(a, b)
    x, y = a.astype(float), b.astype(float)
    assert scores.psnr == pytest.approx(10 * np.log10(255**2 / ((x - y) ** 2).mean()))
    assert scores.ssim == pytest.approx(np.mean([numpy_ssim(x[..., c], y[..., c]) for c in range(channels)]), abs=1e-6)
    assert scores.ssim_y == pytest.approx(numpy_ssim(luma(a), luma(b)), abs=1e-6)


def test_luma_is_studio_range():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(luma(colours)[0], [16, 235, 81.481], atol=1e-3)
    np.testing.assert_allclose(luma(colours[..., :1]), luma(colours[..., [0, 0, 0]]))


def test_crop_border(random):
    a = random.randint(0, 256, (40, 40, 3)).astype(np.uint8)
    b = a.copy()
    b[:4] = 255 - b[:4]
    assert quality(a, b, crop_border=4).psnr == np.inf
    assert quality(a, b, crop_border=3).psnr < np.inf


def test_shapes_are_checked():
    with pytest.raises(UserError, match="shapes differ"):
        quality(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))
    with pytest.raises(UserError, match="at least 11x11"):
        quality(np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20, 3), np.uint8))


def score(set_name, image, psnr, memory=300.0, seconds=0.5):
    return ImageScore(set_name, image, psnr, psnr / 40, psnr + 1, psnr / 39, seconds, memory)


def summary_of(scores, parameters=0):
    return summarise({"mine": scores}, {"mine": parameters}, {"mine": "Mine_1"})


def test_summary_and_table_of_noise_levels():
    summary = summary_of(
        [
            score("CBSD_n01", "a", 30.0),
            score("CBSD_n01", "b", 32.0, 400.0, 0.5123),
            score("CBSD_n01", "c", 31.0, seconds=9.0),
            score("LevinIndependent_n05", "c", 29, seconds=0.5123),
            score("Quickstart_n01", "a", 29.6949),
            score("Quickstart_n01", "b", 29.6950),
        ],
        4321,
    )
    assert summary[0] | {"images": 3, "psnr": "31.000000", "seconds": "0.512300"} == summary[0]
    table = to_markdown(arrange(summary))
    lines = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")]
    rows = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
    sets = ["BSD100 1 %", "Levin, independent noise 5 %", "Quickstart 1 %"]
    assert rows["Method"] == [*sets, "parameters", "s / image", "MiB"]
    # The last mean is rounded once: 29.69496 is 29.69, though to four digits it is 29.6950.
    assert rows["Mine_1"] == ["31.00 / 0.775", "29.00 / 0.725", "29.69 / 0.742", "4,321", "0.512", "400"]
    columns = {"set": "BSD100", "noise": "1", "method": "DSDNet-Light"}
    (light,) = [row for row in read_csv(ROOT / "results/published/paper/table2.csv") if row | columns == row]
    assert rows["DSDNet-Light (paper)"][0] == f"{float(light['psnr']):.2f} / {float(light['ssim']):.3f}"
    assert rows["DSDNet-Light (paper)"][2:] == ["", "58.35M", "", ""]
    assert "Images: BSD100 3, Levin" in table
    assert "published figures, not measured here" in table
    assert "2 to 3 dB above what grey methods reach" in table
    assert "(paper)" not in to_markdown(arrange(summary_of([score("Quickstart_n01", "a", 30.0)])))


def test_summary_and_table_of_lai():
    summary = summary_of([score("Jason", "manmade_01_kernel_01", 20.0), score("Jason", "text_01_kernel_01", 30.0)])
    assert {row["class"]: float(row["psnr"]) for row in summary} == {"": 25, "manmade": 20, "text": 30}
    table = to_markdown(arrange(summary))
    for expected in ("| Mine", "Lai overall", "Images: Lai 2.", "25.98 / 0.852"):
        assert expected in table


def test_markdown_latex_and_csv_hold_the_same_figures():
    tables = arrange(summary_of([score("CBSD_n01", "a", 30.0, None), score("Jason", "text_01_kernel_01", 20.0, None)]))
    rows, latex = [cell for table in tables for cell in table.cells], to_latex(tables)
    first = {"method": "mine", "label": "Mine_1", "source": "measured", "set": "BSD100", "column": "1"}
    first |= {"psnr": "30.000000", "ssim": "0.75000000", "parameters": "", "seconds": "0.5", "memory": ""}
    assert rows[0] == first
    assert {row["source"] for row in rows[1:]} == {"published", "measured"}
    assert r"Mine\_1" in latex
    assert r"BSD100 1 \%" in latex
    assert latex.count(r"\begin{table*}") == latex.count(r"\end{table*}") == 2
    for row in rows:
        cell = f"{float(row['psnr']):.2f} / {float(row['ssim']):.3f}"
        assert cell in latex
        assert cell in to_markdown(tables)


def test_published_numbers_are_those_of_the_paper(shared):
    paths = list((shared / "paper").glob("*.csv"))
    assert paths
    for path in paths:
        assert read_csv(PUBLISHED / "paper" / path.name) == read_csv(path)


def test_peak_memory_is_that_of_the_block_alone():
    def peak(count):
        with peak_memory(torch.device("cpu")) as meter:
            np.ones(count, np.float32)
        return pytest.skip("this system reports no peak memory") if meter.mib is None else meter.mib

    before, large, after = (peak(count) for count in (1, 40 * 2**20, 1))
    assert large - before == pytest.approx(160, abs=20)
    assert large - after > 130
