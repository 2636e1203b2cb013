"""The cohort's page and table: one row a scan, in order, with thumbnails out of the reports."""

from __future__ import annotations

import base64
import csv
import io
import shutil

import matplotlib.image
import numpy as np
import pytest

from scripts.report.pages import small_png, write_index_page, write_regions, write_summary
from scripts.report.scan_page import write_scan_page
from tests.report.conftest import WICKED

PLACE = "right frontal lobe, near the precentral gyrus"


def png(width):
    stream = io.BytesIO()
    matplotlib.image.imsave(stream, np.random.default_rng(0).random((20, width, 3)), format="png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, scan_result, scan_volumes, read_page):
    """A good scan, a refused one with a thumbnail, one that failed, and their page."""
    folder = tmp_path_factory.mktemp("cohort")
    write_scan_page(folder / "a b%.html", result=scan_result, volumes=scan_volumes[0], affine=scan_volumes[1])
    refused = {"case": "refused", "status": "refused", "reasons": ["Too small.", "Mirrored."], "modality": "t2"}
    rows = [
        {**scan_result, "report": "a%20b%25.html"},
        {**refused, "report": "missing.html", "thumbnail": png(300), "seconds": {"total": 2.5}},
        {"case": "failed", "status": "failed", "reasons": [WICKED], "report": ""},
    ]
    write_index_page(folder / "index.html", rows, regions="regions.csv")
    write_summary(folder / "summary.csv", rows)
    return folder, read_page(folder / "index.html")


def body_rows(page):
    """Text of each row of the table, and its cells' sort values."""
    rows, start = [], [tag for tag, _ in page.elements].index("tbody")
    for (tag, attributes), text in list(zip(page.elements, page.texts, strict=True))[start:]:
        if tag == "tr":
            rows.append([])
        elif tag == "td" and rows:
            rows[-1].append((attributes.get("data-value"), text))
    return rows


def test_every_scan_has_a_row_with_values_to_sort_by(cohort):
    values = [[value for value, _ in row] for row in body_rows(cohort[1])]
    assert values[0][1:] == [WICKED, "T1", "analysed", "0.25", "1", "0.25", "1", "2.5", PLACE, "12.5", ""]
    assert values[1][1:] == ["refused", "T2", "refused", "", "", "", "", "", "", "2.5", "Too small.; Mirrored."]
    assert values[2][1:] == ["failed", "", "failed", "", "", "", "", "", "", "", WICKED]


def test_links_lead_to_the_reports_and_only_there(cohort):
    page = cohort[1]
    links = [attributes["href"] for attributes, _ in page.named("a")]
    assert links == ["summary.csv", "regions.csv", "a%20b%25.html", "missing.html"]
    assert all(not value.startswith("http") for value in links)
    assert len(page.named("img")) == 2


def test_thumbnails_come_from_the_report_or_the_row(cohort, read_page):
    folder, page = cohort
    (icon,) = [attributes["href"] for attributes, _ in read_page(folder / "a b%.html").named("link")]
    sources = [attributes["src"] for attributes, _ in page.named("img")]
    assert sources[0] == icon
    given = base64.b64decode(sources[1].removeprefix("data:image/png;base64,"))
    assert matplotlib.image.imread(io.BytesIO(given)).shape[1] == 96
    assert small_png(png(50)) == png(50)


def test_counts_stand_at_the_top(cohort):
    page = cohort[1]
    counts = dict(zip([t for _, t in page.named("dt")], [t for _, t in page.named("dd")], strict=True))
    assert counts == {
        "Scans": "3", "Analysed": "1", "Refused": "1", "Failed": "1", "With candidate regions": "1", "Seconds together": "15"
    }  # fmt: skip


def test_names_stay_text_and_tables_can_be_used_without_a_mouse(cohort):
    page = cohort[1]
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert [text for _, text in page.named("title")] == ["Anomaly maps"]
    assert len(page.named("button")) == 11
    assert len(page.named("caption")) == 1
    assert all(attributes["alt"] for attributes, _ in page.named("img"))


def test_summary_has_a_line_a_scan_and_empty_cells_for_what_there_is_not(cohort):
    with (cohort[0] / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [WICKED, "refused", "failed"]
    assert (rows[0]["total_seconds"], rows[0]["quality_passed"], rows[0]["quality_forced"]) == ("12.5", "1", "0")
    assert rows[1]["reasons"] == "Too small.; Mirrored."
    assert rows[2]["anomaly_score"] == ""


def test_no_scan_is_a_page_too(tmp_path, read_page):
    write_index_page(tmp_path / "index.html", [])
    page = read_page(tmp_path / "index.html")
    assert "No scan." in [text for _, text in page.named("p")]
    write_summary(tmp_path / "summary.csv", [])
    assert (
        (tmp_path / "summary.csv")
        .read_text(encoding="utf-8")
        .startswith("case,modality,status,reasons,anomaly_score,healthy_rank")
    )


def test_a_report_that_was_moved_leaves_its_row_without_a_picture(cohort, tmp_path, read_page, scan_result):
    shutil.copy(cohort[0] / "summary.csv", tmp_path / "other.html")  # a file without an icon
    rows = [{**scan_result, "report": name} for name in ("gone.html", "other.html")]
    write_index_page(tmp_path / "index.html", rows)
    assert not read_page(tmp_path / "index.html").named("img")


def test_regions_of_all_scans_are_one_table(tmp_path, scan_result):
    write_regions(tmp_path / "regions.csv", [scan_result, {"case": "refused", "status": "refused"}])
    with (tmp_path / "regions.csv").open(encoding="utf-8", newline="") as file:
        (row,) = list(csv.DictReader(file))
    region = scan_result["regions"][0]
    assert (row["case"], row["rank"], row["volume_ml"], row["place"]) == (WICKED, "1", "2.5", PLACE)
    assert [float(row[f"peak_{axis}_mm"]) for axis in "xyz"] == region["peak_mm"]
    assert [row[f"peak_mni_{axis}_mm"] for axis in "xyz"] == ["1.0", "2.0", "3.0"]
    assert row["centroid_mni_x_mm"] == ""


def test_the_rank_stands_with_its_scans_and_a_filter_can_be_set_to_hide_some(cohort):
    rows = body_rows(cohort[1])
    assert rows[0][5] == ("1", "rank 1 of 4")
    form = next(attributes for attributes, _ in cohort[1].named("form"))
    assert "hidden" in form  # shown by the script alone
    options = [text for _, text in cohort[1].named("option")]
    assert options == ["all", "analysed", "failed", "refused", "all", "T1", "T2"]
    assert [a["data-p"] for a, _ in cohort[1].named("tr") if "data-p" in a] == ["0.25", "", ""]


def test_changes_of_each_followup_stand_below_the_scans(tmp_path, read_page, scan_result):
    kinds = {"new": (1, 4.84), "grown": (0, 0.0), "shrunken": (2, -3.0), "vanished": (0, 0.0)}
    found = {kind: {"count": count, "change_ml": ml} for kind, (count, ml) in kinds.items()}
    done = {**scan_result, "report": "r.html", "change": {"status": "ok", "baseline": WICKED, "reasons": [], **found}}
    refused = {"status": "refused", "baseline": "b", "reasons": ["They do not fit."]}
    write_index_page(tmp_path / "index.html", [done, {**scan_result, "change": refused}], changes="changes.csv")
    page = read_page(tmp_path / "index.html")
    assert [text for _, text in page.named("h2")] == ["Changes between sessions"]
    rows = body_rows(page)
    assert [text for _, text in rows[-2][1:]] == [WICKED, "1 (+4.8 ml)", "0", "2 (-3.0 ml)", "0", "–"]
    assert [value for value, _ in rows[-1][1:]] == ["b", "", "", "", "", "They do not fit."]
    assert WICKED not in (tmp_path / "index.html").read_text(encoding="utf-8")
