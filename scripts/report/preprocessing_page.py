"""The quality page of a preprocessed data set: a picture and a row of numbers for each scan, and the same as CSV."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.report.page import png_uri, render, small_png
from scripts.report.tables import write_csv, write_text
from scripts.report.words import scan_status, show_number

__all__ = ["write_preprocessing_page", "write_preprocessing_table"]

_COLUMNS = (
    "case", "subject", "session", "modality", "status", "reasons", "warnings", "brain_extraction", "brain_volume_ml",
    "alignment", "shift_mm", "overlap", "similarity", "seconds", "input", "files",
)  # fmt: skip
_PICTURE_WIDTH = 420


def write_preprocessing_table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one CSV line a scan: status, reasons, volume of the brain (ml), shift (mm), overlap, seconds and files.

    Args:
        path: the CSV file.
        rows: from `Preprocess`; lists become text.
    """
    write_csv(path, [_plain(row) for row in rows], columns=_COLUMNS)


def write_preprocessing_page(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Write the page that shows every scan; it holds small pictures and needs no network.

    Args:
        path: the HTML file. The large pictures lie beside it as `<case>_<modality>.png`.
        rows: as for `write_preprocessing_table`.
        title: heading.
    """
    folder = Path(path).parent
    scans = []
    for row in rows:
        picture = folder / f"{row['case']}_{row['modality']}.png"
        known = picture.is_file()
        scans.append(
            {
                **_plain(row),
                "status": scan_status({**row, "quality": {"forced": row.get("forced")}}, done="ok"),
                "picture": png_uri(small_png(picture.read_bytes(), width=_PICTURE_WIDTH)) if known else None,
                "link": picture.name,
                "told": [*row.get("reasons", []), *row.get("warnings", [])],
            }
        )
    facts = _counts(rows)
    page = render("preprocessing_page.html", scripts=("table.js",), title=title, scans=scans, facts=facts)
    write_text(path, page)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row.get(name) for name in _COLUMNS}
    return {name: "; ".join(value) if isinstance(value, list | tuple) else value for name, value in found.items()}


def _counts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    endings = [str(row["status"]) for row in rows]
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    tiles = [("Scans", str(len(rows)))]
    tiles += [(name.capitalize(), str(endings.count(name))) for name in ("ok", "refused", "failed")]
    return [*tiles, ("Seconds together", show_number(seconds, 0))]
