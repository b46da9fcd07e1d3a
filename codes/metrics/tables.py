"""Summaries and tables in the paper's arrangement, with the published numbers beside ours."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from tabulate import tabulate

from codes.metrics.evaluation import ImageScore
from codes.utils.files import ROOT, read_csv

PAPER = ROOT / "results" / "published" / "paper"
SUMMARY_COLUMNS = ("method", "set", "class", "images", "psnr", "ssim", "psnr_y", "ssim_y", "seconds")
LAI_SETS = ("Jason", "Lai")
"""Names of Lai's set in option files; the authors call it after one of its makers."""
LAI_CLASSES = ("manmade", "natural", "people", "saturated", "text")
_PAPER_NAMES = {"CBSD": "BSD100", "Jason": "Lai"}

Scores = Mapping[str, Sequence[ImageScore]]
"""Method -> the scores of its images."""


def summarise(scores: Scores) -> list[dict[str, object]]:
    """Rows of summary.csv: the mean over the images of each method and set; of Lai also each class."""
    rows = []
    for method, images in scores.items():
        for set_name in _in_order(image.set for image in images):
            of_set = [image for image in images if image.set == set_name]
            groups = {"": of_set}
            if set_name in LAI_SETS:
                for name in LAI_CLASSES:
                    groups[name] = [image for image in of_set if image.image.startswith(name + "_")]
            for name, group in groups.items():
                if group:
                    rows.append({"method": method, "set": set_name, "class": name, **_means(group)})
    return rows


def _means(images: Sequence[ImageScore]) -> dict[str, object]:
    digits = {"psnr": 4, "ssim": 6, "psnr_y": 4, "ssim_y": 6, "seconds": 4}
    means = {key: f"{fmean(getattr(image, key) for image in images):.{n}f}" for key, n in digits.items()}
    return {"images": len(images), **means}


def markdown_tables(summary: Sequence[Mapping[str, object]]) -> str:
    """The tables of a summary: Lai's by class (Table 3), the other sets by noise level (Table 2).

    Cells are PSNR (dB) / SSIM. Published rows follow the measured ones, marked as the paper's.
    """
    lai = [row for row in summary if row["set"] in LAI_SETS]
    others = [row for row in summary if row["set"] not in LAI_SETS]
    tables = [_noise_table(others)] if others else []
    tables += [_lai_table(lai)] if lai else []
    return "\n\n".join(tables) + "\n"


def _noise_table(summary: Sequence[Mapping[str, object]]) -> str:
    columns = [_set_and_noise(name) for name in _in_order(row["set"] for row in summary)]
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for row in summary:
        cells.setdefault(f"{row['method']}", {})[_set_and_noise(row["set"])] = _cell(row["psnr"], row["ssim"])
    for row in read_csv(PAPER / "table2.csv"):
        key = (row["set"], row["noise"])
        if key in columns:
            cells.setdefault(f"{row['method']} (paper)", {})[key] = _cell(row["psnr"], row["ssim"])
    heads = [f"{name} {noise} %" if noise else name for name, noise in columns]
    return _table(columns, heads, cells, _seconds(summary), _counts(summary))


def _lai_table(summary: Sequence[Mapping[str, object]]) -> str:
    cells: dict[str, dict[str, str]] = {}
    for row in summary:
        cells.setdefault(f"{row['method']}", {})[row["class"] or "overall"] = _cell(row["psnr"], row["ssim"])
    columns = [name for name in (*LAI_CLASSES, "overall") if any(name in row for row in cells.values())]
    for row in read_csv(PAPER / "lai.csv"):
        published = {name: _cell(row[f"{name}_psnr"], row[f"{name}_ssim"]) for name in columns}
        cells[f"{row['method']} (paper)"] = published
    whole = [row for row in summary if not row["class"]]
    return _table(columns, [f"Lai {name}" for name in columns], cells, _seconds(whole), _counts(whole))


def _table(columns: Sequence, heads: Sequence[str], cells: Mapping, seconds: Mapping[str, str], caption: str) -> str:
    rows = [
        [method, *(row.get(column, "") for column in columns), seconds.get(method, "")] for method, row in cells.items()
    ]
    text = tabulate(rows, ["Method", *heads, "s / image"], tablefmt="github", disable_numparse=True)
    marked = any(method.endswith("(paper)") for method in cells)
    note = " Rows marked (paper) are published figures, not measured here." if marked else ""
    return f"PSNR (dB) / SSIM. {caption}.{note}\n\n{text}"


def _cell(psnr: object, ssim: object) -> str:
    return f"{float(psnr):.2f} / {float(ssim):.3f}"


def _seconds(summary: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Seconds an image of each method, over all its sets."""
    methods = _in_order(row["method"] for row in summary)
    seconds = {}
    for method in methods:
        rows = [row for row in summary if row["method"] == method]
        images = sum(int(row["images"]) for row in rows)
        seconds[method] = f"{sum(float(row['seconds']) * int(row['images']) for row in rows) / images:.2f}"
    return seconds


def _counts(summary: Sequence[Mapping[str, object]]) -> str:
    counts: dict[str, set[int]] = {}
    for row in summary:
        counts.setdefault(_set_and_noise(row["set"])[0], set()).add(int(row["images"]))
    return "Images: " + ", ".join(f"{name} {'/'.join(map(str, sorted(n)))}" for name, n in counts.items())


def _set_and_noise(name: str) -> tuple[str, str]:
    """("BSD100", "3") for CBSD_n03; a name without a noise level stays whole."""
    match = re.fullmatch(r"(.+)_n(\d+)", name)
    if not match:
        return _PAPER_NAMES.get(name, name), ""
    return _PAPER_NAMES.get(match[1], match[1]), str(int(match[2]))


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
