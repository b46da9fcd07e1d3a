"""Summaries and tables in the paper's arrangement, with the published numbers next to ours."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from tabulate import tabulate

from codes.evaluation.evaluator import DIGITS, ImageScore
from codes.evaluation.metrics import Quality
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
    "measured": ("x0", "Wiener", "Hyper-Laplacian", "dsdnet_tiny", "dsdnet_small", "dsdnet_light", "dsdnet"),
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
        for set_name in dict.fromkeys(image.set for image in images):
            groups = {"": [image for image in images if image.set == set_name]}
            for name in LAI_CLASSES if set_name in LAI_SETS else ():
                groups[name] = [image for image in groups[""] if image.image.startswith(name + "_")]
            for name, group in groups.items():
                if group:
                    row = {"method": method, "label": labels[method], "set": set_name, "class": name}
                    row |= {"images": len(group), **_means(group), "parameters": parameters[method]}
                    rows.append(row)
    return rows


def _means(images: Sequence[ImageScore]) -> dict[str, str]:
    known = [image.memory for image in images if image.memory is not None]
    # More digits than a single image's score has, so that a table does not round twice.
    means = {key: f"{fmean(getattr(i, key) for i in images):.{DIGITS[key] + 2}f}" for key in Quality._fields}
    seconds = median(image.seconds for image in images)
    return {**means, "seconds": f"{seconds:.6f}", "memory": f"{max(known):.0f}" if known else ""}


class Table(NamedTuple):
    """A table in the paper's arrangement: its caption, headers and rows as text, and the rows of table.csv."""

    caption: str
    headers: list[str]
    rows: list[list[str]]
    cells: list[dict[str, str]]


def arrange(summary: Sequence[Mapping[str, object]]) -> list[Table]:
    """The tables of a summary: the sets by noise level (Table 2), Lai's by class (Table 3).

    Published rows follow the measured ones.
    """
    lai = [row for row in summary if row["set"] in LAI_SETS]
    others = [row for row in summary if row["set"] not in LAI_SETS]
    return [_table(rows) for rows in (others, lai) if rows]


def _table(summary: Sequence[Mapping[str, object]]) -> Table:
    # The mean over all classes comes last.
    columns = sorted(dict.fromkeys(map(_column, summary)), key=lambda column: column[1] == "overall")
    lines: dict[tuple[str, str], list[dict[str, str]]] = {}
    for cell in [*_measured(summary), *_published(columns)]:
        lines.setdefault((cell["source"], cell["method"]), []).append(cell)
    headers = [f"{name} {column}".strip() + (" %" if column.isdigit() else "") for name, column in columns]
    return Table(
        _caption(summary, columns, any(source == "published" for source, _ in lines)),
        ["Method", *headers, "parameters", "s / image", "MiB"],
        [_text(cells, columns) for cells in lines.values()],
        [cell for cells in lines.values() for cell in cells],
    )


def _column(row: Mapping[str, object]) -> tuple[str, str]:
    """A set as tables show it, and its noise level in percent, its class, or nothing."""
    return ("Lai", row["class"] or "overall") if row["set"] in LAI_SETS else set_and_noise(row["set"])


def _measured(summary: Sequence[Mapping[str, object]]) -> Iterator[dict[str, str]]:
    """The rows of table.csv for a summary: a method's seconds are those of its first set, its memory is the largest."""
    for method in dict.fromkeys(row["method"] for row in summary):
        rows = [row for row in summary if row["method"] == method]
        whole = [row for row in rows if not row["class"]]
        memory = max((int(row["memory"]) for row in whole if row["memory"]), default="")
        costs = (str(int(rows[0]["parameters"]) or ""), f"{float(whole[0]['seconds']):.3g}", str(memory))
        for row in rows:
            values = (method, row["label"], "measured", *_column(row), row["psnr"], row["ssim"], *costs)
            yield dict(zip(ROW_COLUMNS, values, strict=True))


def published_sizes() -> dict[str, int]:
    """The number of parameters of the paper's networks by their names in the paper's tables."""
    names = {"Full": "DSDNet", "Light": "DSDNet-Light"}
    sizes = {row["network"]: round(1e6 * float(row["parameters"][:-1])) for row in read_csv(PAPER / "sizes.csv")}
    return {names.get(name, name): size for name, size in sizes.items()}


def _published(columns: Sequence[tuple[str, str]]) -> Iterator[dict[str, str]]:
    """The rows of table.csv for the paper's figures in these columns."""
    sizes = published_sizes()
    figures = [(row["method"], (row["set"], row["noise"]), row, "") for row in read_csv(PAPER / "table2.csv")]
    for row in read_csv(PAPER / "lai.csv"):
        figures += [(row["method"], ("Lai", name), row, f"{name}_") for name in (*LAI_CLASSES, "overall")]
    for method, column, row, prefix in figures:
        if column in columns:
            scores = (row[f"{prefix}psnr"], row[f"{prefix}ssim"])
            values = (method, method, "published", *column, *scores, str(sizes.get(method, "")), "", "")
            yield dict(zip(ROW_COLUMNS, values, strict=True))


def _text(cells: Sequence[Mapping[str, str]], columns: Sequence[tuple[str, str]]) -> list[str]:
    """A row as text: the method, PSNR and SSIM of each column, and the costs."""
    scores = {(cell["set"], cell["column"]): f"{float(cell['psnr']):.2f} / {float(cell['ssim']):.3f}" for cell in cells}
    first = cells[0]
    label, parameters = first["label"], first["parameters"]
    if first["source"] == "published":
        label = f"{label} (paper)"
        parameters = parameters and f"{int(parameters) / 1e6:g}M"
    elif parameters:
        parameters = f"{int(parameters):,}"
    return [label, *(scores.get(column, "") for column in columns), parameters, first["seconds"], first["memory"]]


def _caption(summary: Sequence[Mapping[str, object]], columns: Sequence[tuple[str, str]], published: bool) -> str:
    counts: dict[str, set[int]] = {}
    for row in summary:
        if not row["class"]:
            counts.setdefault(_column(row)[0], set()).add(int(row["images"]))
    images = ", ".join(f"{name} {'/'.join(map(str, sorted(n)))}" for name, n in counts.items())
    first, noise = columns[0]
    timed = f"{first} at {noise} % noise" if noise.isdigit() else first
    notes = [
        f"PSNR (dB) / SSIM. Images: {images}. s / image is the median time for {timed}. "
        "MiB is the peak memory, on a CPU that of the process."
    ]
    if published:
        notes.append("Rows marked (paper) are published figures, not measured here.")
    if _SHOWN["LevinIndependent"] in counts:
        notes.append(INDEPENDENT)
    return " ".join(notes)


def to_markdown(tables: Sequence[Table]) -> str:
    """The tables for a page."""
    return "\n".join(f"{table.caption}\n\n{_tabulated(table.rows, table.headers)}\n" for table in tables)


def to_latex(tables: Sequence[Table]) -> str:
    """The tables for a paper (packages booktabs and graphicx), each a table over the page's width."""
    texts = []
    for table in tables:
        align = ("left", *["center"] * (len(table.headers) - 1))
        text = tabulate(table.rows, table.headers, "latex_booktabs", disable_numparse=True, colalign=align)
        caption = table.caption.replace("%", r"\%")
        label = "lai" if table.headers[1].startswith("Lai ") else "noise"
        texts.append(
            f"\\begin{{table*}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{label}}}\n"
            f"\\resizebox{{\\textwidth}}{{!}}{{%\n{text}}}\n\\end{{table*}}\n"
        )
    return "\n".join(texts)


def headline(rows: Sequence[Mapping[str, str]]) -> str:
    """The README's first table: PSNR (dB) of some methods as Markdown.

    rows: the rows of table.csv of both of the paper's tables. A method without rows is left out.
    """
    shown = [(source, method) for source, methods in HEADLINE.items() for method in methods]
    return _psnr_by_noise(rows, shown, ("BSD100", "Levin"), lai=True)


def table2_psnr(rows: Sequence[Mapping[str, str]]) -> str:
    """PSNR (dB) of all methods of Table 2 as Markdown, three noise levels to a column. rows: those of table.csv."""
    methods = dict.fromkeys((row["source"], row["method"]) for row in rows)
    return _psnr_by_noise(rows, methods, dict.fromkeys(row["set"] for row in rows))


def _psnr_by_noise(
    rows: Sequence[Mapping[str, str]], methods: Iterable[tuple[str, str]], sets: Iterable[str], lai: bool = False
) -> str:
    """A row for each (source, method) that has scores, a column for each set and, with `lai`, one for Lai."""
    sets, lines = list(sets), []
    for source, method in methods:
        own = [row for row in rows if (row["source"], row["method"]) == (source, method)]
        if own:
            psnr = {(row["set"], row["column"]): f"{float(row['psnr']):.2f}" for row in own}
            label = own[0]["label"] + (" (paper)" if source == "published" else "")
            levels = [[psnr.get((name, level)) for level in "135"] for name in sets]
            cells = [" / ".join(level or "-" for level in of_set) if any(of_set) else "-" for of_set in levels]
            lines.append([label, *cells] + [psnr.get(("Lai", "overall"), "-")] * lai)
    noise = (f"{name.removesuffix(' noise')}, noise 1 / 3 / 5 %" for name in sets)
    headers = ["PSNR (dB)", *noise] + ["Lai, overall"] * lai
    return _tabulated(lines, headers) + "\n"


def _tabulated(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def set_and_noise(name: str) -> tuple[str, str]:
    """("BSD100", "3") for CBSD_n03; a name without a noise level stays whole."""
    name, noise = re.fullmatch(r"(.+?)(?:_n(\d+))?", name).groups()
    return _SHOWN.get(name, name), str(int(noise)) if noise else ""
