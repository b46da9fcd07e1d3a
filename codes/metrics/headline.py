"""The README's first table: a few columns of both of the paper's tables."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

# Ids of measured rows, and names of published ones.
MEASURED = ("x0", "Wiener", "Hyper-Laplacian", "dsdnet_tiny", "dsdnet_light", "dsdnet")
PUBLISHED = ("DWDN", "DSDNet-Light", "DSDNet")
COLUMNS = {"BSD100": ("1", "3", "5"), "Levin": ("1", "3", "5"), "Lai": ("overall",)}


def headline(rows: Sequence[Mapping[str, str]]) -> str:
    """PSNR (dB) of some methods as Markdown.

    rows: those of the table.csv of both tables (codes.metrics.tables.to_rows). A method that is not among them is
    left out.
    """
    lines = []
    for source, methods in (("measured", MEASURED), ("published", PUBLISHED)):
        for method in methods:
            own = [row for row in rows if (row["source"], row["method"]) == (source, method)]
            if own:
                psnr = {(row["set"], row["column"]): f"{float(row['psnr']):.2f}" for row in own}
                cells = [" / ".join(psnr.get((name, of), "-") for of in columns) for name, columns in COLUMNS.items()]
                lines.append([own[0]["label"] + (" (paper)" if source == "published" else ""), *cells])
    heads = ["PSNR (dB)", "BSD100, noise 1 / 3 / 5 %", "Levin, noise 1 / 3 / 5 %", "Lai, overall"]
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True) + "\n"
