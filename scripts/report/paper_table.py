"""The paper's table: a row per method or score, Dice and AUPRC of each data set as columns."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.report.tables import DASH, format_mean, markdown_table, write_csv, write_text

__all__ = ["Cell", "PaperTable", "average_tables", "latex_table", "latex_text", "table_of_summary", "write_paper_table"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "≥": r"$\ge$",
    "–": "--",
    "·": r"$\cdot$",
    "λ": r"$\lambda$",
}


def latex_text(text: str) -> str:
    r"""Return plain text as LaTeX.

    Examples:
        >>> print(latex_text("5 %"))
        5 \%
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex_table(
    header: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    *,
    bold: Mapping[str, Sequence[bool]],
    groups: Sequence[tuple[str, int]],
    caption: str,
) -> str:
    """Return a floating table with a line of group names above the header.

    Args:
        header: name of the first column and of the others.
        rows: cells of each row by its name, as plain text.
        bold: which of these cells stand out.
        groups: name and number of columns of each group, after the first column.
        caption: a sentence under the table.

    Raises:
        ValueError: when rows, groups and header have not the same number of columns.
    """
    width = len(header) - 1
    lengths = {len(cells) for cells in rows.values()} | {sum(number for _, number in groups)}
    if lengths != {width}:
        raise ValueError(f"rows and `groups` must have {width} columns, got {sorted(lengths)}")
    above, rules, start = [""], [], 2
    for name, number in groups:
        above.append(rf"\multicolumn{{{number}}}{{c}}{{{latex_text(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + number - 1}}}")
        start += number
    body = [
        _line([latex_text(name), *(_cell(*pair) for pair in zip(cells, bold[name], strict=True))])
        for name, cells in rows.items()
    ]
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\begin{{tabular}}{{l{''.join('c' * number for _, number in groups)}}}",
        r"\toprule",
        _line(above),
        " ".join(rules),
        _line([latex_text(name) for name in header]),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, strong: bool) -> str:
    plain = latex_text(text)
    return rf"\textbf{{{plain}}}" if strong else plain


VALIDATION, POOLED = "dice_at_validation_best_dice", "dice_at_pooled_best_dice"
_THRESHOLDS = {
    VALIDATION: "the validation threshold",
    POOLED: "the pooled best threshold of these very cases",
}


@dataclass(frozen=True)
class Cell:
    """A mean in [0, 1], the standard deviation (with n − 1; NaN for n = 1) and how many numbers they come from."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class PaperTable:
    """Cells by row and by (data set, metric), the metric `dice` or `auprc`.

    Attributes:
        rows: {row: {(data set, metric): cell}}.
        datasets: data sets in the order of the columns.
        dice: column of `cases.csv` that the Dice comes from.
        over: what mean and standard deviation are taken over, such as "cases".
    """

    rows: Mapping[str, Mapping[tuple[str, str], Cell]]
    datasets: Sequence[str]
    dice: str
    over: str = "cases"

    @property
    def caption(self) -> str:
        """What the numbers are, in a sentence."""
        threshold = _THRESHOLDS.get(self.dice, self.dice)
        return f"Dice at {threshold}, and AUPRC; mean ± standard deviation over {self.over}, in %."


def table_of_summary(
    data_sets: Mapping[str, Mapping[str, Any]], *, order: Sequence[str] = ()
) -> PaperTable:
    """Take the table out of an evaluation's summary.

    The Dice is that at the validation threshold where it is known, else at the pooled best one.

    Args:
        data_sets: `data_sets` of a `summary.json`, as made or as read back.
        order: data sets in the order of the columns, healthy ones may be among them; the summary's order by default.

    Returns:
        The table, without healthy sets; it has no row when there is no other set.
    """
    names = [name for name in (order or data_sets) if name in data_sets]
    entries = {
        (name, row): entry for name in names for row, entry in data_sets[name].items() if "pooled" in entry
    }
    known = any(VALIDATION in entry["metrics"] for entry in entries.values())
    column = VALIDATION if known else POOLED
    rows: dict[str, dict[tuple[str, str], Cell]] = {}
    for (name, row), entry in entries.items():
        cells = rows.setdefault(row, {})
        for metric, source in (("dice", column), ("auprc", "auprc")):
            described = entry["metrics"].get(source)
            if described is not None:
                cells[name, metric] = Cell(_number(described["mean"]), _number(described["std"]), described["n"])
    return PaperTable(rows, list(dict.fromkeys(name for name, _ in entries)), column)


def average_tables(tables: Sequence[PaperTable]) -> PaperTable:
    """Average the means of the tables of several folds.

    Args:
        tables: at least one, with the same kind of Dice.

    Returns:
        A cell wherever any table has one; its `n` says how many do.

    Raises:
        ValueError: when there is no table, or their Dice have different thresholds.
    """
    if len({table.dice for table in tables}) != 1:
        raise ValueError(f"`tables` must have one kind of Dice, got {sorted({table.dice for table in tables})}")
    rows: dict[str, dict[tuple[str, str], Cell]] = {}
    for row in dict.fromkeys(row for table in tables for row in table.rows):
        own = [table.rows[row] for table in tables if row in table.rows]
        for key in dict.fromkeys(key for cells in own for key in cells):
            means = [cells[key].mean for cells in own if key in cells and not math.isnan(cells[key].mean)]
            rows.setdefault(row, {})[key] = Cell(
                statistics.fmean(means) if means else math.nan,
                statistics.stdev(means) if len(means) > 1 else math.nan,
                len(means),
            )
    datasets = list(dict.fromkeys(name for table in tables for name in table.datasets))
    return PaperTable(rows, datasets, tables[0].dice, over="folds")


def write_paper_table(folder: str | os.PathLike[str], table: PaperTable) -> str:
    """Write `table.csv` (fractions), `table.md` and `table.tex` (per cent), and return the Markdown.

    The best mean of each column is bold.

    Args:
        folder: where to write, made if missing.
        table: with at least one row.
    """
    folder = Path(folder)
    keys = [(name, metric) for name in table.datasets for metric in ("dice", "auprc")]
    best = {key: max((_mean(table, row, key) for row in table.rows), default=math.nan) for key in keys}
    texts = {row: [_text(cells.get(key)) for key in keys] for row, cells in table.rows.items()}
    bold = {row: [_mean(table, row, key) == best[key] for key in keys] for row in table.rows}
    header = ["method", *(f"{name} {_title(metric)} [%]" for name, metric in keys)]
    lines = [
        [row, *(f"**{text}**" if strong else text for text, strong in zip(texts[row], bold[row], strict=True))]
        for row in table.rows
    ]
    markdown = f"{markdown_table(header, lines)}\n{table.caption}\n"
    write_csv(folder / "table.csv", [_csv_row(row, cells, keys) for row, cells in table.rows.items()])
    write_text(folder / "table.md", markdown)
    groups = [(name, 2) for name in table.datasets]
    columns = ["Method", *(f"{_title(metric)} [%]" for _, metric in keys)]
    latex = latex_table(columns, texts, bold=bold, groups=groups, caption=table.caption)
    write_text(folder / "table.tex", latex)
    return markdown


def _csv_row(row: str, cells: Mapping[tuple[str, str], Cell], keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    line: dict[str, Any] = {"method": row}
    for name, metric in keys:
        cell = cells.get((name, metric))
        for part in ("mean", "std", "n"):
            line[f"{name}_{metric}_{part}"] = None if cell is None else getattr(cell, part)
    return line


def _mean(table: PaperTable, row: str, key: tuple[str, str]) -> float:
    cell = table.rows[row].get(key)
    return -1.0 if cell is None or math.isnan(cell.mean) else cell.mean


def _text(cell: Cell | None) -> str:
    return DASH if cell is None else format_mean(100 * cell.mean, 100 * cell.std, digits=2)


def _title(metric: str) -> str:
    return {"dice": "Dice", "auprc": "AUPRC"}[metric]


def _number(value: float | None) -> float:
    """Return NaN for the null of a JSON file."""
    return math.nan if value is None else float(value)
