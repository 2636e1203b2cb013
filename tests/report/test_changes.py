"""What the page, the table and the picture say of the changes between two sessions."""

from __future__ import annotations

import csv
import io
import json

import matplotlib.image
import numpy as np
import pytest

from scripts.metrics.region_change import Change, ChangeRules, count_changes, region_changes
from scripts.report.display import CHANGES, display_volumes, page_view
from scripts.report.scan_page import make_viewer, write_scan_page
from scripts.report.slices import draw_changes
from scripts.report.tables import write_changes
from scripts.report.words import change_words
from tests.report.conftest import WICKED


@pytest.fixture(scope="module")
def compared(scan_volumes, scan_result):
    """A result with one new, one vanished and one unchanged region, and its volumes."""
    volumes, affine = scan_volumes
    before, after = np.zeros((2, *volumes["image"].shape), bool)
    after[8:12, 20:24, 14:18] = True
    before[26:30, 20:24, 14:18] = True
    before[18:21, 8:11, 14:17] = after[18:21, 8:11, 14:17] = True
    difference = (0.5 * after - 0.5 * before).astype(np.float32)
    rules = ChangeRules(tolerance_mm=2.0, min_change_ml=0.1, min_difference=0.1)
    rows, numbers = region_changes(before, after, difference, affine, rules=rules)
    alignment = {"turn_deg": 3.25, "shift_mm": 4.0, "overlap": 0.97, "similarity": 0.99}
    facts = {"status": "ok", "reasons": [], "baseline": WICKED, "baseline_date": "2020-05-01", "alignment": alignment}
    facts |= {"rules": vars(rules), "not_compared_ml": 1.25, **count_changes(rows), "regions": rows}
    shown = {"baseline": volumes["image"], "difference_map": difference, "change_dseg": numbers}
    return {**scan_result, "change": facts}, {**volumes, **shown}, affine


def test_the_kinds_have_one_order_and_a_colour_each():
    assert list(CHANGES) == [str(kind) for kind in Change]
    assert len(set(CHANGES.values())) == len(CHANGES)


def test_the_page_lists_the_changes_with_signs_and_jumps_to_their_peaks(compared, tmp_path, read_page):
    result, volumes, affine = compared
    write_scan_page(tmp_path / "report.html", result=result, volumes=volumes, affine=affine)
    page = read_page(tmp_path / "report.html")
    tables = [text for attributes, text in page.named("td")]
    ml = 64 * 1.5**3 / 1000
    assert {f"{ml:+.2f}", f"{-ml:+.2f}", "+0.00"} <= set(tables)
    jumps = [attributes["data-mm"] for attributes, _ in page.named("button") if "Show change" in (attributes.get("aria-label") or "")]
    assert jumps == [str(row["peak_mm"]) for row in result["change"]["regions"]]
    for name in ("baseline", "difference_map", "change_dseg"):
        assert page.volume(name).shape == page.volume("image").shape
    assert set(np.unique(page.volume("change_dseg").get_fdata())) == {0, 1, 4, 5}
    text = (tmp_path / "report.html").read_text()
    settings = json.loads(page.named("script")[[a.get("id") for a, _ in page.named("script")].index("viewer-settings")][1])
    assert [kind for kind, _ in settings["changes"]] == [str(kind) for kind in Change]  # numbers of change_dseg, in order
    assert WICKED not in text
    assert "1.2 ml of this scan" in text
    assert "turned by 3.2°" in text


def test_a_comparison_that_failed_says_why_and_adds_no_layer(scan_result, scan_volumes, tmp_path, read_page):
    result = {**scan_result, "change": {"status": "failed", "baseline": "then", "reasons": ["they do not fit"]}}
    assert change_words(scan_result) is None
    write_scan_page(tmp_path / "report.html", result=result, volumes=scan_volumes[0], affine=scan_volumes[1])
    text = (tmp_path / "report.html").read_text()
    assert "Not compared with then:" in text
    assert "they do not fit" in text
    assert 'id="show-change"' not in text


def test_the_table_of_a_cohort_has_a_row_for_each_region_and_each_failure(compared, tmp_path):
    failed = {"case": "b", "modality": "t1", "change": {"status": "failed", "baseline": "a", "reasons": ["=x"]}}
    write_changes(tmp_path / "changes.csv", [compared[0], failed, {"case": "c"}])
    with (tmp_path / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["change"] for row in rows] == [*(row["change"] for row in compared[0]["change"]["regions"]), ""]
    assert (rows[-1]["case"], rows[-1]["status"], rows[-1]["reasons"]) == ("b", "failed", "'=x")
    first = compared[0]["change"]["regions"][0]
    assert float(rows[0]["change_ml"]) == pytest.approx(first["change_ml"])
    assert [float(rows[0][f"peak_{axis}_mm"]) for axis in "xyz"] == first["peak_mm"]


def test_the_picture_outlines_each_kind_in_its_colour(compared):
    view = page_view(display_volumes(compared[1], compared[2]), threshold=0.4)
    picture = matplotlib.image.imread(io.BytesIO(draw_changes(view)))[..., :3]
    for kind in ("new", "vanished"):
        wanted = np.array([int(CHANGES[kind][place : place + 2], 16) for place in (1, 3, 5)]) / 255
        assert (np.abs(picture - wanted).max(axis=-1) < 0.15).any(), kind


def test_the_viewer_scales_both_grey_images_alike_and_hides_small_differences(compared):
    viewer = make_viewer(page_view(display_volumes(compared[1], compared[2]), threshold=0.2))
    layers = {layer.name: layer for layer in viewer.layers}
    assert (layers["baseline"].low, layers["baseline"].high) == (layers["image"].low, layers["image"].high)
    assert layers["difference_map"].low == pytest.approx(0.05)  # a quarter of the threshold
    assert layers["difference_map"].high > layers["difference_map"].low
