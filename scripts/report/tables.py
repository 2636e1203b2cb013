"""CSV, JSON and Markdown files."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scripts.files import replacing

__all__ = [
    "DASH",
    "format_mean",
    "format_number",
    "markdown_table",
    "write_csv",
    "write_json",
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
        ValueError: when a row has not as many cells as the header.
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    if any(len(row) != len(header) for row in cells):
        raise ValueError(f"`rows` must have {len(header)} cells each, got {sorted({len(row) for row in cells})}")
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
