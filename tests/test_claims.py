"""The verdicts on the paper's claims follow from the figures."""

import shutil
from pathlib import Path

import pytest

from codes.metrics.tables import ROW_COLUMNS
from codes.scripts import check_claims
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, read_csv, write_csv


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder of published figures with tables made up for the test."""
    shutil.copytree(ROOT / "results" / "published" / "paper", tmp_path / "paper")
    write_csv(tmp_path / "parity.csv", [{"fixture": "a", "error": 1e-6, "bar": 2e-5}], ("fixture", "error", "bar"))
    speed = {
        "network": "light",
        "size": "481x321",
        "kernel": 19,
        "version": "ours, float32",
        "seconds": 17.65,
        "threads": 2,
    }
    write_csv(tmp_path / "speed.csv", [speed], tuple(speed))
    tables(tmp_path, 30.0, 29.0)
    return tmp_path


def tables(folder: Path, own: float, classical: float, authors: float | None = None) -> None:
    """One column of BSD100 and Lai's overall one."""
    psnr = {
        ("measured", check_claims.OWN): own,
        ("measured", check_claims.BASELINE): classical,
        ("published", "DSDNet"): 32.0,
        ("published", "DSDNet-Light"): 31.0,
    }
    if authors is not None:
        psnr["measured", "DSDNet"] = authors
    for name, column in (("table2", ("BSD100", "1")), ("table3", ("Lai", "overall"))):
        rows = [dict.fromkeys(ROW_COLUMNS, "") for _ in psnr]
        for row, ((source, method), value) in zip(rows, psnr.items(), strict=True):
            row |= {"source": source, "method": method, "set": column[0], "column": column[1], "psnr": f"{value:.4f}"}
        write_csv(folder / name / "table.csv", rows, ROW_COLUMNS)


def verdicts(folder: Path) -> dict[str, str]:
    target = folder / "claims.csv"
    arguments = ["--published", str(folder), "--output", str(target)]
    assert run_command_line(check_claims.main, arguments) == 0
    return {row["claim"]: row["verdict"] for row in read_csv(target)}


def test_verdicts(published: Path) -> None:
    of = verdicts(published)
    assert of["Light: parameters"] == of["DSDNet+P: parameters"] == "reproduced"
    assert of["the released network's output, on random weights"] == "reproduced"
    assert of["a trained network is ahead of a sparse prior set by hand"] == "partly"
    assert of["BSD100 1 %: PSNR of DSDNet"] == "not"
    assert of["Tables 2 and 3, DSDNet with the authors' weights"] == "open"
    assert of["CGNet solves the x-step better than CG or FFT, denoised or not"] == "open"
    assert of["run time"] == "open"


@pytest.mark.parametrize(("own", "authors", "expected"), [(28.0, 32.05, "reproduced"), (31.95, 31.0, "partly")])
def test_verdicts_change_with_the_figures(published: Path, own: float, authors: float, expected: str) -> None:
    tables(published, own, 29.0, authors)
    of = verdicts(published)
    assert of["a trained network is ahead of a sparse prior set by hand"] == ("not" if own < 29 else "partly")
    assert of["BSD100 1 %: PSNR of DSDNet"] == ("not" if own < 29 else "reproduced")
    assert of["Tables 2 and 3, DSDNet with the authors' weights"] == expected


@pytest.mark.parametrize(("cgnet", "expected"), [(27.0, "partly"), (25.0, "not")])
def test_order_of_the_solvers(published: Path, cgnet: float, expected: str) -> None:
    rows = [
        {"variant": row["solver"], "Set5_n01": cgnet if row["solver"] == "CGNet" else 26.0, "paper_psnr": row["psnr"]}
        for row in read_csv(published / "paper" / "ablation_solver.csv")
    ]
    write_csv(published / "ablation.csv", rows, ("variant", "Set5_n01", "paper_psnr"))
    assert verdicts(published)["CGNet solves the x-step better than CG or FFT, denoised or not"] == expected


def test_what_is_missing_is_one_line(published: Path, capsys: pytest.CaptureFixture) -> None:
    (published / "parity.csv").unlink()
    assert run_command_line(check_claims.main, ["--published", str(published)]) == 1
    assert "parity.csv: no such file; publish it first" in capsys.readouterr().err


def test_published_claims_are_those_of_the_published_figures(tmp_path: Path) -> None:
    published = ROOT / "results" / "published" / "claims.csv"
    assert run_command_line(check_claims.main, ["--output", str(tmp_path / "claims.csv")]) == 0
    assert read_csv(tmp_path / "claims.csv") == read_csv(published), "run python codes/scripts/check_claims.py"
