"""CSV, JSON, Markdown and LaTeX files, and the paper's table: a row per method or score, data sets as columns."""

from __future__ import annotations

import csv
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import replacing

__all__ = [
    "DASH",
    "Cell",
    "PaperTable",
    "average_tables",
    "coordinates",
    "format_mean",
    "format_number",
    "latex_table",
    "latex_text",
    "markdown_table",
    "table_of_summary",
    "write_changes",
    "write_csv",
    "write_json",
    "write_paper_table",
    "write_text",
]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
DASH = "\N{EN DASH}"  # in place of a number that does not exist


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8; bytes of file names that are no text become escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write strict JSON, indented; NaN and infinity become null, numbers keep all their digits."""
    write_text(path, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def write_csv(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    columns: Sequence[str] | None = None,
    for_people: bool = True,
) -> None:
    """Write rows as CSV with a header; NaN, None and missing entries become empty cells.

    A text that a spreadsheet would run as a formula, as it begins with one of = + - @, gets an apostrophe before it;
    texts of numbers stay as they are, and so do all texts of tables that programs read (`for_people` off).

    Args:
        path: the file.
        rows: one mapping a row.
        columns: the header; by default every key in the order in which it first appears.
        for_people: whether the table may be opened in a spreadsheet.
    """
    header = list(columns) if columns is not None else list(dict.fromkeys(key for row in rows for key in row))
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, header, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value, for_people) for key, value in row.items()} for row in rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table, columns padded to one width so that it also reads well as plain text.

    Raises:
        InputError: when a row has not as many cells as the header.
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    if any(len(row) != len(header) for row in cells):
        raise InputError(f"`rows` must have {len(header)} cells each, got {sorted({len(row) for row in cells})}")
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def format_number(value: float | None, *, digits: int = 3) -> str:
    """Return a number with `digits` decimals, or a dash when it is None or NaN."""
    return DASH if value is None or math.isnan(value) else f"{value:.{digits}f}"


def format_mean(mean: float | None, std: float | None, *, digits: int = 3) -> str:
    """Return "mean ± std", the mean alone when there is no spread, or a dash when there is no mean."""
    text = format_number(mean, digits=digits)
    return text if std is None or math.isnan(std) else f"{text} ± {format_number(std, digits=digits)}"


def _cell(value: Any, for_people: bool) -> Any:
    """Return a CSV cell: empty for None and NaN, 0 or 1 for a boolean."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if for_people and isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return "'" + value
    return int(value) if isinstance(value, bool) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(content: Any) -> Any:
    """Replace numbers that JSON has no word for by None, all the way down."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


_CHANGE_COLUMNS = (
    "case", "baseline", "modality", "status", "reasons", "rank", "change", "place", "side", "lobe", "structure",
    "before_ml", "after_ml", "change_ml", "difference", "evidence",
)  # fmt: skip
_CHANGE_POINTS = ("peak_mm", "peak_mni_mm")


def write_changes(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one CSV line a region of each scan that was compared with a baseline, unchanged ones too.

    A scan without a region, or whose comparison failed, has one line. Volumes are in ml on the follow-up's grid,
    positions in mm.

    Args:
        path: the CSV file.
        rows: `result.json` of each scan.
    """
    lines: list[dict[str, Any]] = []
    for row in rows:
        change = row.get("change")
        if not isinstance(change, Mapping):
            continue
        scan = {"case": row.get("case"), "modality": row.get("modality"), "baseline": change.get("baseline")}
        scan |= {"status": change.get("status"), "reasons": "; ".join(change.get("reasons") or [])}
        regions = change.get("regions") or [{}]
        lines += [{**scan, **region, **coordinates(region, _CHANGE_POINTS)} for region in regions]
    write_csv(path, lines, columns=(*_CHANGE_COLUMNS, *coordinates({}, _CHANGE_POINTS)))


def coordinates(region: Mapping[str, Any], points: Sequence[str]) -> dict[str, float | None]:
    """Return points of a region as one column a coordinate, such as `peak_x_mm` of `peak_mm`; None where it has none.

    Args:
        region: of a result.
        points: names of entries [3], mm.
    """
    return {
        f"{name.removesuffix('_mm')}_{axis}_mm": value
        for name in points
        for axis, value in zip("xyz", region.get(name) or (None, None, None), strict=False)
    }


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
        InputError: when rows, groups and header have not the same number of columns.
    """
    width = len(header) - 1
    lengths = {len(cells) for cells in rows.values()} | {sum(number for _, number in groups)}
    if lengths != {width}:
        raise InputError(f"rows and `groups` must have {width} columns, got {sorted(lengths)}")
    above, rules, start = [""], [], 2
    for name, number in groups:
        above.append(rf"\multicolumn{{{number}}}{{c}}{{{latex_text(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + number - 1}}}")
        start += number
    body = [
        _line([latex_text(name), *(_latex_cell(*pair) for pair in zip(cells, bold[name], strict=True))])
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


def _latex_cell(text: str, strong: bool) -> str:
    plain = latex_text(text)
    return rf"\textbf{{{plain}}}" if strong else plain


VALIDATION, POOLED = "dice_at_validation_best_dice", "dice_at_pooled_best_dice"
_THRESHOLDS = {VALIDATION: "the validation threshold", POOLED: "the pooled best threshold of these very cases"}


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


def table_of_summary(data_sets: Mapping[str, Mapping[str, Any]], *, order: Sequence[str] = ()) -> PaperTable:
    """Take the table out of an evaluation's summary.

    The Dice is that at the validation threshold where it is known, else at the pooled best one.

    Args:
        data_sets: `data_sets` of a `summary.json`, as made or as read back.
        order: data sets in the order of the columns, healthy ones may be among them; the summary's order by default.

    Returns:
        The table, without healthy sets; it has no row when there is no other set.
    """
    names = [name for name in (order or data_sets) if name in data_sets]
    entries = {(name, row): entry for name in names for row, entry in data_sets[name].items() if "pooled" in entry}
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
        InputError: when there is no table, or their Dice have different thresholds.
    """
    if len({table.dice for table in tables}) != 1:
        raise InputError(f"`tables` must have one kind of Dice, got {sorted({table.dice for table in tables})}")
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
