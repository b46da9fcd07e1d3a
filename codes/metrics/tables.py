"""Summaries and tables in the paper's arrangement, with the published numbers next to ours."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import NamedTuple

from tabulate import tabulate

from codes.metrics.evaluation import DIGITS, ImageScore
from codes.metrics.quality import Quality
from codes.utils.files import PUBLISHED, read_csv

PAPER = PUBLISHED / "paper"
# `method` is a row's id, `label` what is shown.
SUMMARY_COLUMNS = ("method", "label", "set", "class", "images", *DIGITS, "parameters")
ROW_COLUMNS = ("method", "label", "source", "set", "column", "psnr", "ssim", "parameters", "seconds", "memory")
# Names of Lai's set in option files; the authors name it after one of its makers.
LAI_SETS = ("Jason", "Lai")
LAI_CLASSES = ("manmade", "natural", "people", "saturated", "text")
# Names of sets as tables show them.
_SHOWN = {"CBSD": "BSD100", "Jason": "Lai", "LevinIndependent": "Levin, independent noise"}

# Why Table 2 has Levin's images twice.
INDEPENDENT = (
    "Levin, independent noise: the same images and kernels with other noise in each channel, because the published "
    "figures of colour networks on Levin (DWDN, SVMAP, DSDNet) are 2 to 3 dB above what grey methods reach, "
    "while those of grey methods are not."
)

# Rows of the README's first table: ids of measured methods, names of published ones.
HEADLINE = {
    "measured": ("x0", "Wiener", "Hyper-Laplacian", "dsdnet_tiny", "dsdnet_light", "dsdnet"),
    "published": ("DWDN", "DSDNet-Light", "DSDNet"),
}


def summarise(
    scores: Mapping[str, Sequence[ImageScore]], parameters: Mapping[str, int], labels: Mapping[str, str]
) -> list[dict[str, object]]:
    """Rows of summary.csv: means over the images of each method and set, and for Lai's images of each class.

    seconds is the median and memory the maximum of the images' values; parameters is the number of weights.
    scores, parameters and labels have the methods' ids as keys.
    """
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
                    row = {"method": method, "label": labels[method], "set": set_name, "class": name}
                    row |= {"images": len(group), **_figures(group), "parameters": parameters[method]}
                    rows.append(row)
    return rows


def _figures(images: Sequence[ImageScore]) -> dict[str, object]:
    known = [image.memory for image in images if image.memory is not None]
    # More digits than a single image's score has, so that a table does not round twice.
    means = {key: f"{fmean(getattr(i, key) for i in images):.{DIGITS[key] + 2}f}" for key in Quality._fields}
    seconds = median(image.seconds for image in images)
    return {**means, "seconds": f"{seconds:.6f}", "memory": f"{max(known):.0f}" if known else ""}


class Cell(NamedTuple):
    """PSNR in dB and SSIM, as text."""

    psnr: str
    ssim: str

    def __str__(self) -> str:
        return f"{float(self.psnr):.2f} / {float(self.ssim):.3f}"


# A set as tables show it, and a noise level in percent, a class, or nothing.
Column = tuple[str, str]


@dataclass
class Line:
    """A row of a table: a method, measured here or published. Its costs are text, empty if unknown."""

    method: str
    label: str
    published: bool
    cells: dict[Column, Cell] = field(default_factory=dict)
    parameters: str = ""
    seconds: str = ""
    memory: str = ""


@dataclass
class Table:
    """Columns and lines, with the number of images of each set."""

    columns: list[Column]
    lines: list[Line]
    images: str


def arrange(summary: Sequence[Mapping[str, object]]) -> list[Table]:
    """The tables of a summary: the sets by noise level (Table 2), Lai's by class (Table 3).

    Published lines follow the measured ones.
    """
    lai = [row for row in summary if row["set"] in LAI_SETS]
    others = [row for row in summary if row["set"] not in LAI_SETS]
    return [_table(rows) for rows in (others, lai) if rows]


def _table(summary: Sequence[Mapping[str, object]]) -> Table:
    # The mean over all classes comes last.
    columns = sorted(_in_order(map(_column, summary)), key=lambda column: column[1] == "overall")
    lines = [
        _measured([row for row in summary if row["method"] == method])
        for method in _in_order(row["method"] for row in summary)
    ]
    counts: dict[str, set[int]] = {}
    for row in summary:
        if not row["class"]:
            counts.setdefault(_column(row)[0], set()).add(int(row["images"]))
    images = ", ".join(f"{name} {'/'.join(map(str, sorted(n)))}" for name, n in counts.items())
    return Table(columns, [*lines, *_published(columns)], images)


def _column(row: Mapping[str, object]) -> Column:
    return ("Lai", row["class"] or "overall") if row["set"] in LAI_SETS else set_and_noise(row["set"])


def _measured(rows: Sequence[Mapping[str, object]]) -> Line:
    """The line of one method's rows of a summary."""
    whole = [row for row in rows if not row["class"]]
    known = [int(row["memory"]) for row in whole if row["memory"]]
    parameters = int(rows[0]["parameters"])
    return Line(
        rows[0]["method"],
        str(rows[0]["label"]),
        published=False,
        cells={_column(row): Cell(str(row["psnr"]), str(row["ssim"])) for row in rows},
        parameters=f"{parameters:,}" if parameters else "",
        seconds=f"{float(whole[0]['seconds']):.3g}",
        memory=str(max(known)) if known else "",
    )


def published_sizes() -> dict[str, str]:
    """The number of parameters of the paper's networks, such as 58.35M, by their names in the paper's tables."""
    names = {"Full": "DSDNet", "Light": "DSDNet-Light"}
    return {names.get(row["network"], row["network"]): row["parameters"] for row in read_csv(PAPER / "sizes.csv")}


def _published(columns: Sequence[Column]) -> Iterable[Line]:
    """The paper's lines that have a cell in one of the columns."""
    sizes = published_sizes()
    cells = [(row["method"], (row["set"], row["noise"]), row, "") for row in read_csv(PAPER / "table2.csv")]
    for row in read_csv(PAPER / "lai.csv"):
        cells += [(row["method"], ("Lai", name), row, f"{name}_") for name in (*LAI_CLASSES, "overall")]
    lines: dict[str, Line] = {}
    for method, column, row, prefix in cells:
        if column in columns:
            line = lines.setdefault(method, Line(method, method, published=True, parameters=sizes.get(method, "")))
            line.cells[column] = Cell(row[f"{prefix}psnr"], row[f"{prefix}ssim"])
    return lines.values()


# --- one source, three forms ---------------------------------------------------------------------


def to_markdown(tables: Sequence[Table]) -> str:
    """The tables for a page: cells are PSNR (dB) / SSIM, published lines are marked."""
    texts = []
    for table in tables:
        text = tabulate(text_rows(table), text_heads(table), tablefmt="github", disable_numparse=True)
        texts.append(f"{_caption(table)}\n\n{text}\n")
    return "\n".join(texts)


def to_latex(tables: Sequence[Table]) -> str:
    """The tables for a paper (packages booktabs and graphicx), each a table over the page's width."""
    texts = []
    for table in tables:
        heads = text_heads(table)
        align = ("left", *["center"] * (len(heads) - 1))
        text = tabulate(text_rows(table), heads, "latex_booktabs", disable_numparse=True, colalign=align)
        caption = _caption(table).replace("%", r"\%")
        label = "lai" if table.columns[0][0] == "Lai" else "noise"
        texts.append(
            f"\\begin{{table*}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{label}}}\n"
            f"\\resizebox{{\\textwidth}}{{!}}{{%\n{text}}}\n\\end{{table*}}\n"
        )
    return "\n".join(texts)


def to_rows(tables: Sequence[Table]) -> list[dict[str, str]]:
    """The tables for programs: one row per cell; source is `measured` or `published`."""
    rows = []
    for line in [line for table in tables for line in table.lines]:
        source = "published" if line.published else "measured"
        costs = (_number(line.parameters), line.seconds, line.memory)
        for (set_name, column), cell in line.cells.items():
            values = (line.method, line.label, source, set_name, column, cell.psnr, cell.ssim, *costs)
            rows.append(dict(zip(ROW_COLUMNS, values, strict=True)))
    return rows


def headline(rows: Sequence[Mapping[str, str]]) -> str:
    """The README's first table: PSNR (dB) of some methods as Markdown.

    rows: `to_rows` of both of the paper's tables. A method without rows is left out.
    """
    lines = []
    for source, methods in HEADLINE.items():
        for method in methods:
            own = [row for row in rows if (row["source"], row["method"]) == (source, method)]
            if own:
                psnr = {(row["set"], row["column"]): f"{float(row['psnr']):.2f}" for row in own}
                noisy = (" / ".join(psnr.get((name, level), "-") for level in "135") for name in ("BSD100", "Levin"))
                label = own[0]["label"] + (" (paper)" if source == "published" else "")
                lines.append([label, *noisy, psnr.get(("Lai", "overall"), "-")])
    heads = ["PSNR (dB)", "BSD100, noise 1 / 3 / 5 %", "Levin, noise 1 / 3 / 5 %", "Lai, overall"]
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"


def _number(parameters: str) -> str:
    """A count without separators; 58.35M, as the paper rounds it, is 58350000."""
    return f"{float(parameters[:-1]) * 1e6:.0f}" if parameters.endswith("M") else parameters.replace(",", "")


def text_rows(table: Table) -> list[list[str]]:
    """The cells of every line: the method, PSNR and SSIM of each column, and the costs."""
    return [
        [
            f"{line.label} (paper)" if line.published else line.label,
            *(str(line.cells.get(column, "")) for column in table.columns),
            *(line.parameters, line.seconds, line.memory),
        ]
        for line in table.lines
    ]


def text_heads(table: Table) -> list[str]:
    """The column heads of `text_rows`."""
    heads = [f"{name} {column}".strip() + (" %" if column.isdigit() else "") for name, column in table.columns]
    return ["Method", *heads, "parameters", "s / image", "MiB"]


def _caption(table: Table) -> str:
    first, noise = table.columns[0]
    timed = f"{first} at {noise} % noise" if noise.isdigit() else first
    notes = [
        f"PSNR (dB) / SSIM. Images: {table.images}. s / image is the median time for {timed}. "
        "MiB is the peak memory, on a CPU that of the process."
    ]
    if any(line.published for line in table.lines):
        notes.append("Rows marked (paper) are published figures, not measured here.")
    if any(set_name == _SHOWN["LevinIndependent"] for set_name, _ in table.columns):
        notes.append(INDEPENDENT)
    return " ".join(notes)


def set_and_noise(name: str) -> tuple[str, str]:
    """("BSD100", "3") for CBSD_n03; a name without a noise level stays whole."""
    match = re.fullmatch(r"(.+)_n(\d+)", name)
    if not match:
        return _SHOWN.get(name, name), ""
    return _SHOWN.get(match[1], match[1]), str(int(match[2]))


def _in_order(names: Iterable) -> list:
    return list(dict.fromkeys(names))
