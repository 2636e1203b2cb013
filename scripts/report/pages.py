"""Pages that need no other file: what they share, lists of scans, and reports of tables and sentences."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import matplotlib.image
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from scripts.report.tables import coordinates, markdown_table, write_csv, write_text
from scripts.report.words import healthy_rank, scan_status, show_number, show_value
from scripts.results import bundle_version

__all__ = [
    "NOTICE",
    "Block",
    "Picture",
    "Table",
    "as_markdown",
    "asset",
    "link_to",
    "png_uri",
    "render",
    "small_png",
    "write_document_page",
    "write_index_page",
    "write_preprocessing_page",
    "write_preprocessing_table",
    "write_regions",
    "write_summary",
]

NOTICE = "Research software; not a medical device. Not for diagnosis."
_ASSETS = Path(__file__).parent / "assets"


def render(template: str, *, scripts: tuple[str, ...] = (), **context: Any) -> str:
    """Fill a template of `assets/` and return one HTML page that needs no other file.

    Every value is escaped by the template engine. The page forbids itself all network access and every script but its
    own (a Content Security Policy with the scripts' hashes), so that even a name that looks like HTML stays text.

    Args:
        template: file name in `assets/`.
        scripts: names of the scripts in `assets/` that the page ends with, in this order.
        **context: the template's variables.
    """
    sources = [_as_script(asset(name)) for name in scripts]
    hashes = " ".join(f"'sha256-{_sha256(source)}'" for source in sources) or "'none'"
    policy = f"default-src 'none'; img-src data:; connect-src data:; style-src 'unsafe-inline'; script-src {hashes}"
    page = _environment().get_template(template)
    return page.render(
        **context,
        notice=NOTICE,
        policy=policy + "; base-uri 'none'; form-action 'none'",
        style=Markup(asset("page.css")),
        scripts=[Markup(source) for source in sources],
    )


@cache
def asset(name: str) -> str:
    """Return the text of a file in `assets/`."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def png_uri(png: bytes) -> str:
    """Return a PNG picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def small_png(png: bytes, *, width: int = 96) -> bytes:
    """Return a PNG picture shrunk to `width` pixels; a smaller one stays as it is."""
    pixels = matplotlib.image.imread(io.BytesIO(png)).shape[1]
    if pixels <= width:
        return png
    small = io.BytesIO()
    matplotlib.image.thumbnail(io.BytesIO(png), small, scale=width / pixels)
    return small.getvalue()


def link_to(name: object) -> str:
    """Return a relative path as the target of a link; what looks like a scheme such as `javascript:` becomes a name."""
    return quote(Path(str(name)).as_posix(), safe="/")


def _as_script(source: str) -> str:
    """Return JavaScript that cannot end its own `<script>` element; the escapes mean the same inside its strings."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=show_number, value=show_value, link=link_to)
    return environment


_COLUMNS = (
    "case", "modality", "status", "reasons", "anomaly_score", "healthy_rank", "num_healthy_scans", "p_value",
    "num_regions", "region_volume_ml", "brain_volume_ml", "threshold", "threshold_source", "quality_passed",
    "quality_forced", "total_seconds", "device", "input", "report",
)  # fmt: skip
_REGION_COLUMNS = (
    "case", "modality", "rank", "place", "side", "lobe", "lobe_share", "structure", "tissue", "periventricular",
    "volume_ml", "evidence", "peak", "mean",
)  # fmt: skip
_POINTS = ("peak_mm", "peak_mni_mm", "centroid_mm", "centroid_mni_mm")
_ICON = re.compile(rb'<link rel="icon" href="data:image/png;base64,([A-Za-z0-9+/=]+)">')
_HEAD_BYTES = 200_000  # the icon stands before the page's style


def write_index_page(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    regions: str | None = None,
    changes: str | None = None,
) -> None:
    """Write the page that lists all scans of a run; it holds its thumbnails and needs no network.

    Args:
        path: the HTML file.
        rows: `result.json` of each scan, with `report` where it has a page: the link to it, relative to this page and
            percent-encoded. A thumbnail is taken from the row's `thumbnail` (PNG bytes) or else from its report.
        regions: name of the CSV file of all candidate regions to link to; None for no link.
        changes: name of the CSV file of what changed between sessions to link to; None for no link.
    """
    folder = Path(path).parent
    scans = [{**_plain_row(row), "status": scan_status(row), "thumbnail": _thumbnail(row, folder)} for row in rows]
    endings = sorted({scan["status"].text for scan in scans})
    for scan, row in zip(scans, rows, strict=True):
        first: Mapping[str, Any] = next(iter(row.get("regions") or []), {})
        scan.update(reasons=list(row.get("reasons") or []), report=unquote(str(row.get("report") or "")))
        scan.update(place=first.get("place"), rank=(healthy_rank(row) or (None, None))[0])
        scan.update(modality=scan["modality"].upper(), change=row.get("change"))
    context = {
        "title": "Anomaly maps",
        "regions": regions,
        "changes": changes,
        "scans": scans,
        "facts": _counts(rows),
        "endings": endings,
        "modalities": sorted({scan["modality"] for scan in scans} - {""}),
    }
    write_text(path, render("index_page.html", scripts=("table.js",), **context))


def write_summary(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one CSV line a scan: case, status, reasons, score, regions, volumes in ml, threshold, seconds and files.

    Args:
        path: the CSV file.
        rows: as for `write_index_page`.
    """
    write_csv(path, [_plain_row(row) for row in rows], columns=_COLUMNS)


def write_regions(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one CSV line a candidate region of all scans, in the scans' order and then by rank.

    Volumes are in ml of the scan's own voxels, positions in mm (`peak_x_mm` … the scanner's world, `peak_mni_x_mm` …
    MNI152).

    Args:
        path: the CSV file.
        rows: `result.json` of each scan.
    """
    lines = [
        {"case": row.get("case"), "modality": row.get("modality"), **region, **coordinates(region, _POINTS)}
        for row in rows
        for region in row.get("regions") or []
    ]
    write_csv(path, lines, columns=(*_REGION_COLUMNS, *coordinates({}, _POINTS)))


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row as text and numbers; None where the result has no such value."""
    quality = row.get("quality") or {}
    seconds = row.get("seconds")
    found = {
        **{key: row.get(key) for key in _COLUMNS},
        "reasons": "; ".join(str(reason) for reason in row.get("reasons") or []),
        "quality_passed": quality.get("passed"),
        "quality_forced": quality.get("forced"),
        "total_seconds": seconds.get("total") if isinstance(seconds, Mapping) else seconds,
    }
    return {**found, "case": str(row.get("case") or ""), "modality": row.get("modality") or ""}


def _counts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return how many scans ended how, for the top of the page."""
    endings = [scan_status(row).text for row in rows]
    tiles = [("Scans", str(len(rows)))]
    for ending in dict.fromkeys(("analysed", "forced", "refused", "failed", *endings)):
        if ending in endings or ending in ("analysed", "refused", "failed"):
            tiles.append((ending.capitalize(), str(endings.count(ending))))
    with_regions = sum(1 for row in rows if (row.get("num_regions") or 0) > 0)
    seconds = sum(value for row in rows if isinstance(value := _plain_row(row)["total_seconds"], int | float))
    return [*tiles, ("With candidate regions", str(with_regions)), ("Seconds together", show_number(float(seconds), 0))]


def _thumbnail(row: Mapping[str, Any], folder: Path) -> str | None:
    """Return the scan's thumbnail as a data URI, from the row or from the icon of its report."""
    if isinstance(row.get("thumbnail"), bytes):
        return png_uri(small_png(row["thumbnail"]))
    report = folder / unquote(str(row["report"])) if row.get("report") else None
    if report is None or not report.is_file():
        return None
    with report.open("rb") as file:
        icon = _ICON.search(file.read(_HEAD_BYTES))
    return png_uri(base64.b64decode(icon.group(1))) if icon else None


_PREPROCESSING_COLUMNS = (
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
    write_csv(path, [_preprocessing_row(row) for row in rows], columns=_PREPROCESSING_COLUMNS)


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
                **_preprocessing_row(row),
                "status": scan_status({**row, "quality": {"forced": row.get("forced")}}, done="ok"),
                "picture": png_uri(small_png(picture.read_bytes(), width=_PICTURE_WIDTH)) if known else None,
                "link": picture.name,
                "reported": [*row.get("reasons", []), *row.get("warnings", [])],
            }
        )
    facts = _preprocessing_counts(rows)
    page = render("preprocessing_page.html", scripts=("table.js",), title=title, scans=scans, facts=facts)
    write_text(path, page)


def _preprocessing_row(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row.get(name) for name in _PREPROCESSING_COLUMNS}
    return {name: "; ".join(value) if isinstance(value, list | tuple) else value for name, value in found.items()}


def _preprocessing_counts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    endings = [str(row["status"]) for row in rows]
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    tiles = [("Scans", str(len(rows)))]
    tiles += [(name.capitalize(), str(endings.count(name))) for name in ("ok", "refused", "failed")]
    return [*tiles, ("Seconds together", show_number(seconds, 0))]


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
