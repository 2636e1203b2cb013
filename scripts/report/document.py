"""Reports of tables and sentences, shown as Markdown and as a page that needs no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.report.pages import png_uri, render, small_png
from scripts.report.tables import markdown_table, write_text
from scripts.results import bundle_version

__all__ = ["Block", "Picture", "Table", "as_markdown", "write_document_page"]

_SMALL_PIXELS = 480
_LETTERS = ("-", "–", "+", ".", "%", "±", " ", "e", "(", ")", "/")  # that stand in numbers beside digits


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        header: names of the columns.
        rows: as many cells each.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def numbers(self) -> list[bool]:
        """Which columns hold numbers only."""
        return [all(_is_number(str(row[place])) for row in self.rows) for place in range(len(self.header))]


@dataclass(frozen=True)
class Picture:
    """A picture beside the page.

    Attributes:
        path: the PNG file.
        text: what it shows.
        large: whether the page holds it as it is, not a small copy that links to it.
    """

    path: Path
    text: str
    large: bool = False


@dataclass(frozen=True)
class Block:
    """A part of a report: a table, a command, or sentences.

    Attributes:
        text: a paragraph; empty for none.
        table: below it.
        command: whether the text is a command.
    """

    text: str = ""
    table: Table | None = field(default=None)
    command: bool = False


def as_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Return a report as Markdown.

    Args:
        title: of the report.
        blocks: its parts.
    """
    parts = [f"# {title}\n"]
    for block in blocks:
        if block.text:
            parts.append(f"`{block.text}`\n" if block.command else f"{block.text}\n")
        if block.table is not None:
            parts.append(markdown_table(block.table.header, block.table.rows))
    return "\n".join(parts)


def write_document_page(
    path: str | os.PathLike[str],
    title: str,
    blocks: Sequence[Block],
    *,
    facts: Sequence[tuple[str, str]] = (),
    pictures: Sequence[Picture] = (),
    files: Sequence[str] = (),
) -> None:
    """Write a report as a page; pictures are in it, small ones link to the file beside it.

    Args:
        path: the HTML file.
        title: heading.
        blocks: the parts.
        facts: titles and texts of the tiles at the top.
        pictures: what else to show, files in the page's folder or below.
        files: names of the files beside the page to link to; those that do not exist are left out.
    """
    folder = Path(path).parent
    shown = [
        {
            "uri": png_uri(data if picture.large else small_png(data, width=_SMALL_PIXELS)),
            "link": None if picture.large else picture.path.relative_to(folder).as_posix(),
            "text": picture.text,
        }
        for picture in pictures
        if picture.path.is_file()
        for data in [picture.path.read_bytes()]
    ]
    made = f"Made on {datetime.now(UTC).date()} with version {bundle_version()}."
    context: dict[str, Any] = {"title": title, "blocks": blocks, "facts": facts, "pictures": shown, "made": made}
    present = [name for name in files if (folder / name).is_file()]
    write_text(path, render("document_page.html", **context, files=present))


def _is_number(text: str) -> bool:
    plain = text.replace("to", "").replace("of", "")
    for letter in _LETTERS:
        plain = plain.replace(letter, "")
    return not plain or plain.isdigit()
