"""Reports of tables and sentences as Markdown and as a page."""

from __future__ import annotations

import base64
import io

import matplotlib.image
import numpy as np
import pytest

from scripts.report.pages import Block, Picture, Table, as_markdown, write_document_page
from scripts.results import bundle_version
from tests.report.conftest import WICKED

BLOCKS = [Block("python -m x", command=True), Block("Some text.", Table(["name", "value"], [["a", "1.00 (3 / 3)"], ["b", "–"]]))]


def test_markdown_has_title_command_text_and_table():
    assert as_markdown("Title", BLOCKS).splitlines() == [
        "# Title", "", "`python -m x`", "", "Some text.", "",
        "| name | value        |", "|------|--------------|", "| a    | 1.00 (3 / 3) |", "| b    | –            |",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "is_number"),
    [(["0.357 to 0.550", "–"], True), (["12 of 41"], True), (["1.2 ± 0.3", "5 %", "1e-3"], True), (["1 % of the brain"], False), (["t1"], False)],
)  # fmt: skip
def test_columns_of_numbers_are_known_by_their_cells(cells, is_number):
    assert Table(["x"], [[cell] for cell in cells]).numbers == [is_number]


def test_the_page_escapes_links_what_exists_and_makes_panels_small(tmp_path, read_page):
    (tmp_path / "panels").mkdir()
    for name in ("curve.png", "panels/a b.png"):
        matplotlib.image.imsave(tmp_path / name, np.random.default_rng(0).random((40, 960, 3)))
    (tmp_path / "there.csv").touch()
    pictures = [Picture(tmp_path / "curve.png", "curve", large=True), Picture(tmp_path / "panels" / "a b.png", WICKED)]
    pictures.append(Picture(tmp_path / "absent.png", "absent"))
    blocks = [*BLOCKS, Block(WICKED)]
    write_document_page(tmp_path / "x.html", "Title", blocks, pictures=pictures, files=["there.csv", "absent.csv"])
    page = read_page(tmp_path / "x.html")
    assert [attributes["href"] for attributes, _ in page.named("a")] == ["panels/a%20b.png", "there.csv"]
    assert WICKED in [text for _, text in page.named("p")]
    assert WICKED not in (tmp_path / "x.html").read_text()
    assert f"with version {bundle_version()}." in "".join(text for _, text in page.named("p"))

    sizes = [matplotlib.image.imread(io.BytesIO(base64.b64decode(a["src"].split(",")[1]))).shape[1] for a, _ in page.named("img")]
    assert sizes == [960, 480]
    assert [attributes.get("class") for attributes, _ in page.named("td")] == ["number", "number"]
