"""The README's first table: what tells the most, of both of the paper's tables."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

MEASURED = ("x0", "Wiener", "Hyper-Laplacian", "DSDNet-Tiny (ours)", "DSDNet-Light", "DSDNet")
PUBLISHED = ("DWDN", "DSDNet-Light", "DSDNet")
COLUMNS = {"BSD100": ("1", "3", "5"), "Levin": ("1", "3", "5"), "Lai": ("overall",)}


def headline(rows: Sequence[Mapping[str, str]]) -> str:
    """PSNR (dB) of some methods as Markdown.

    rows: those of the table.csv of both tables (codes.metrics.tables.to_rows). Methods that are
    not among them are left out.
    """
    psnr = {(row["source"], row["method"], row["set"], row["column"]): float(row["psnr"]) for row in rows}
    lines = []
    for source, methods in (("measured", MEASURED), ("published", PUBLISHED)):
        for method in methods:
            if not any(key[:2] == (source, method) for key in psnr):
                continue
            cells = []
            for set_name, columns in COLUMNS.items():
                values = [psnr.get((source, method, set_name, column)) for column in columns]
                cells.append(" / ".join("-" if value is None else f"{value:.2f}" for value in values))
            lines.append([f"{method} (paper)" if source == "published" else method, *cells])
    heads = ["PSNR (dB)", "BSD100, noise 1 / 3 / 5 %", "Levin, noise 1 / 3 / 5 %", "Lai, overall"]
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"
