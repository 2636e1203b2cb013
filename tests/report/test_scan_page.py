"""The page of one scan: complete, self-contained, and safe whatever the names are."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re

import matplotlib.image
import numpy as np
import pytest

from scripts.report.pages import NOTICE, link_to, render
from scripts.report.scan_page import write_scan_page
from scripts.report.words import healthy_rank, scan_status, show_number, show_value
from tests.report.conftest import WICKED


@pytest.fixture(scope="module")
def path(tmp_path_factory, scan_result, scan_volumes):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_scan_page(path, result=scan_result, volumes=scan_volumes[0], affine=scan_volumes[1])
    return path


@pytest.fixture(scope="module")
def page(path, read_page):
    return read_page(path)


@pytest.fixture
def refused(tmp_path, scan_result, read_page):
    keys = ("case", "modality", "quality", "preprocessing")
    result = {key: scan_result[key] for key in keys} | {"status": "refused", "reasons": ["Too small.", WICKED]}
    picture = tmp_path / "quality.png"
    picture.write_bytes(tiny_png())
    write_scan_page(tmp_path / "refused.html", result=result, quality_picture=picture)
    return read_page(tmp_path / "refused.html")


def tiny_png():
    stream = io.BytesIO()
    matplotlib.image.imsave(stream, np.zeros((4, 300, 3)), format="png")
    return stream.getvalue()


def words(page):
    """Everything that a reader of the page sees as text."""
    hidden = ("script", "style")
    return " ".join(text for (tag, _), text in zip(page.elements, page.texts, strict=True) if tag not in hidden)


def test_the_page_refers_to_nothing_but_its_files(page, path):
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith("data:image/png;base64,") or value in ("", "a%20b%231_anomaly_map.nii.gz")
    source = path.read_text(encoding="utf-8")
    style = "".join(text for _, text in page.named("style"))
    assert "url(" not in style
    assert "@import" not in style
    # Addresses are text in NiiVue's comments and messages, and in the licences; the policy below blocks all of them.
    without = source.replace(page.named("script")[-2][1], "")
    without = re.sub(r"<pre[^>]*>.*?</pre>", "", without, flags=re.DOTALL)
    assert "http://" not in without
    assert "https://" not in without


def test_the_policy_allows_the_pages_own_scripts_and_no_network(page):
    (policy,) = [a["content"] for a, _ in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src data:;" in policy
    executed = [text for attributes, text in page.named("script") if "type" not in attributes]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in executed]
    assert re.search(r"script-src ([^;]*)", policy).group(1).split() == [f"'sha256-{one}'" for one in hashes]
    assert len(executed) == 2


def test_names_that_look_like_html_stay_text(page, path):
    assert [tag for tag, _ in page.elements].count("img") == 1  # the mosaic
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert words(page).count(WICKED) == 5  # title, heading, threshold's source, a parameter's name and value
    assert "\N{REPLACEMENT CHARACTER}" not in path.read_text(encoding="utf-8")


def test_the_embedded_volumes_are_what_went_in(page, scan_volumes):
    volumes, affine = scan_volumes
    image = page.volume("anomaly_map")
    # Voxel to voxel through the world: the copy is cropped and flipped, not resampled (1.5 mm is coarse enough).
    to_scan = np.linalg.solve(affine, image.affine)
    voxels = np.argwhere(np.ones(image.shape))
    places = np.rint(voxels @ to_scan[:3, :3].T + to_scan[:3, 3]).astype(int)
    level = volumes["anomaly_map"].max() / 255
    np.testing.assert_allclose(image.get_fdata().ravel(), volumes["anomaly_map"][tuple(places.T)], atol=level / 2 + 1e-6)
    mask = page.volume("lesion_mask").get_fdata()
    assert mask.sum() == volumes["lesion_mask"].sum()
    for name in ("image", "reconstruction"):
        assert page.volume(name).shape == image.shape


def test_the_scripts_settings_are_strict_json(page):
    (text,) = [text for attributes, text in page.named("script") if attributes.get("id") == "viewer-settings"]
    settings = json.loads(text, parse_constant=pytest.fail)
    assert settings["threshold"] == 0.2
    assert settings["worldToTemplate"] == np.eye(4).tolist()


def test_the_page_says_what_a_reader_needs(page, scan_result):
    text = re.sub(r"\s+", " ", words(page))
    assert text.count(NOTICE) == 2
    for fact in ("0.250", "2.5 ml", "1400 ml", "1, 2, 3", "0.310", "700 to 2200 ml", "at most 4 mm", "at least 0.8"):
        assert fact in text
    for name in ("✓ passed", "! warning", "✕ failed", "brain extraction: volume (ml)", "weights: sha256", "ab" * 32, "12.50"):
        assert name in text
    ((button, label),) = [pair for pair in page.named("button") if "data-mm" in pair[0]]
    assert label == "1"
    assert json.loads(button["data-mm"]) == scan_result["regions"][0]["peak_mm"]
    assert all(attributes.get("alt") for attributes, _ in page.named("img"))
    tables, captions = (len(page.named(tag)) for tag in ("table", "caption"))
    assert tables == captions == 7


def test_licences_travel_with_the_viewer(page):
    licences = [text for attributes, text in page.named("pre") if attributes.get("class") != "citation"]
    assert "Copyright (c) 2021, Niivue" in licences[0]
    assert "Yann Collet" in licences[1]


def test_a_refused_scan_has_reasons_checks_and_picture_but_no_viewer(refused):
    assert [attributes["data-viewer"] for attributes, _ in refused.named("body")] == ["none"]
    assert not refused.named("canvas")
    assert not refused.named("script")
    assert all("open" in attributes for attributes, _ in refused.named("details")), "closed parts may not be printed"
    text = words(refused)
    for fact in ("✕ refused", "This scan was not analysed:", "Too small.", WICKED, "✕ failed", "method", NOTICE):
        assert fact in text
    ((image, _),) = refused.named("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == tiny_png()


def test_a_failed_scan_and_a_scan_without_lesion_have_pages_too(tmp_path, scan_result, scan_volumes, read_page):
    write_scan_page(tmp_path / "failed.html", result={"case": "a", "status": "failed", "reasons": ["Cut off."]})
    assert "Cut off." in words(read_page(tmp_path / "failed.html"))
    volumes, affine = scan_volumes
    result = {**scan_result, "regions": [], "num_regions": 0, "region_volume_ml": 0.0, "reasons": ["Low."]}
    result["quality"] = {**scan_result["quality"], "forced": True}
    volumes = {**volumes, "lesion_mask": volumes["lesion_mask"] * 0}
    write_scan_page(tmp_path / "none.html", result=result, volumes=volumes, affine=affine)
    text = words(read_page(tmp_path / "none.html"))
    for fact in ("No voxel reaches this threshold.", "! forced", "Please note:", "Low."):
        assert fact in text


def test_volumes_need_an_affine_and_an_error_leaves_no_file(tmp_path, scan_result, scan_volumes):
    with pytest.raises(ValueError, match="`affine` must be given with `volumes`, got None"):
        write_scan_page(tmp_path / "a.html", result=scan_result, volumes=scan_volumes[0])
    wrong = {**scan_volumes[0], "lesion_mask": np.zeros((2, 2, 2))}
    with pytest.raises(ValueError, match="`lesion_mask` must have the image's shape"):
        write_scan_page(tmp_path / "a.html", result=scan_result, volumes=wrong, affine=np.eye(4))
    assert not list(tmp_path.iterdir())


def test_links_cannot_become_code_and_numbers_have_a_text():
    assert link_to("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert link_to("sub 1/ä.html") == "sub%201/%C3%A4.html"
    assert [show_number(value, 2) for value in (1.005, -3, None, float("nan"), True)] == ["1.00", "-3.00", "–", "–", "–"]
    values = (None, True, 0.1234567, [1, 2.5], [[1, 0], [0, 1]], "text", 3)
    assert [show_value(value) for value in values] == ["–", "yes", "0.12346", "1, 2.5", "1, 0\n0, 1", "text", "3"]
    assert scan_status({}).text == "unknown"


def test_a_script_cannot_end_its_own_element(monkeypatch):
    monkeypatch.setattr("scripts.report.pages.asset", lambda name: "a = '</script><b>' + '<!--';")
    page = render("index_page.html", scripts=("table.js",), title="t", regions=None, changes=None, scans=[], facts=[])
    assert "a = '<\\/script><b>' + '<\\!--';" in page


def test_the_result_is_set_beside_healthy_scans(page, tmp_path, scan_result, read_page):
    text = re.sub(r"\s+", " ", words(page))
    for fact in ("rank 1 of 4", "3 healthy scans and this one; p = 0.25, the lowest possible", "median 0.5 ml, 95 % at most 4.0 ml (12 scans)"):
        assert fact in text
    assert "analysed" in text
    assert "✓ analysed" not in text
    other = {**scan_result, "p_value": 0.5, "healthy_rank": 2, "healthy_false_positive_ml": None}
    write_scan_page(tmp_path / "a.html", result=other)
    text = words(read_page(tmp_path / "a.html"))
    assert "p = 0.5, the lowest possible is 0.25" in text
    assert "in healthy subjects" not in text
    assert healthy_rank({"p_value": 0.1}) is None


def test_where_a_result_comes_from_is_always_open_and_can_be_cited(page):
    (table,) = [index for index, (tag, a) in enumerate(page.elements) if tag == "table" and a.get("class") == "origin"]
    ending = next(i for i, (tag, _) in enumerate(page.elements) if i > table and tag == "details")
    facts = " ".join(page.texts[table:ending])
    for fact in ("2026-01-02T03:04:05+00:00", "cd" * 32, "ab" * 32, "scan.nii.gz", "model.pt"):
        assert fact in facts
    (citation,) = [text for attributes, text in page.named("pre") if attributes.get("class") == "citation"]
    assert "doi       = {10.1007/978-3-031-72120-5_37}" in citation
    assert "The T1-weighted scan was analysed with" in words(page)
    assert "right frontal lobe, near the precentral gyrus" in words(page)
