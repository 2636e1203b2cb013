"""Pages as their elements and texts."""

from __future__ import annotations

import base64
import gzip
from html.parser import HTMLParser

import nibabel as nib
import pytest

VOID = ("meta", "link", "img", "input", "br")


class PageReader(HTMLParser):
    """Elements of a page as (tag, attributes), and the text inside each of them, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(len(self.elements))
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_endtag(self, tag):
        assert self.elements[self.open.pop()][0] == tag, f"{tag} is closed where another element is open"

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] += data

    def named(self, tag):
        """Attributes and text of every element of a kind."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]

    def volume(self, name):
        """One of the embedded NIfTI images."""
        (text,) = [text for attributes, text in self.named("script") if attributes.get("data-volume") == name]
        return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.fixture(scope="session")
def read_page():
    return lambda path: PageReader(path.read_text(encoding="utf-8"))
