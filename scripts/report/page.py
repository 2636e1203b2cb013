"""What the report's pages share: templates, inlined files, and pictures as text."""

from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib.image
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scripts.report.words import show_number, show_value

__all__ = ["NOTICE", "asset", "link_to", "png_uri", "render", "small_png"]

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
