"""Names of results: plain, or BIDS derivatives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.results import relative_link, result_path, write_dataset_description

IMAGES = ("anomaly_map", "lesion_mask", "mahalanobis_map", "reconstruction", "uncertainty", "brain_mask")
DOCUMENTS = {"result": ".json", "report": ".html", "quality": ".png", "mosaic": ".png", "panel": ".png"}
PLAIN = {"case": "scan", "folder": "scan", "stem": "scan"}
BIDS = {"case": "sub-01_ses-1_T2w", "folder": "sub-01/ses-1/anat", "stem": "sub-01_ses-1", "bids_suffix": "T2w"}


def test_plain_images_begin_with_the_scans_name_and_documents_do_not():
    assert [result_path("out", PLAIN, name) for name in IMAGES] == [
        Path("out/scan", f"scan_{name}.nii.gz") for name in IMAGES
    ]
    assert {name: result_path("out", PLAIN, name, suffix).name for name, suffix in DOCUMENTS.items()} == {
        "result": "result.json",
        "report": "report.html",
        "quality": "quality.png",
        "mosaic": "mosaic.png",
        "panel": "panel.png",
    }


@pytest.mark.parametrize(
    ("name", "suffix", "ending"),
    [
        ("anomaly_map", ".nii.gz", "desc-anomaly_map.nii.gz"),
        ("lesion_mask", ".nii.gz", "desc-lesion_mask.nii.gz"),
        ("uncertainty", ".nii.gz", "desc-uncertainty_map.nii.gz"),
        ("reconstruction", ".nii.gz", "desc-reconstruction_T2w.nii.gz"),
        ("result", ".json", "desc-anomaly_result.json"),
        ("report", ".html", "desc-anomaly_report.html"),
    ],
)
def test_bids_scans_get_derivative_names(name, suffix, ending):
    expected = Path("out/sub-01/ses-1/anat", f"sub-01_ses-1_space-T2w_{ending}")
    assert result_path("out", BIDS, name, suffix) == expected


def test_no_two_results_share_a_file_even_with_both_contrasts_of_a_session():
    items = [PLAIN, BIDS, {**BIDS, "bids_suffix": "T1w"}]
    results = [(name, ".nii.gz") for name in IMAGES] + list(DOCUMENTS.items())
    paths = [result_path("out", item, *result) for item in items for result in results]
    assert len(set(paths)) == len(paths) == 33


def test_unknown_results_are_refused():
    with pytest.raises(ValueError, match=r"`name` must be one of anomaly_map, .*, panel, got 'picture'"):
        result_path("out", PLAIN, "picture")


def test_the_dataset_description_is_that_of_derivatives_and_may_be_renewed(tmp_path):
    for version in ("0.1.0", "0.2.0"):
        path = write_dataset_description(tmp_path / "out", version)
    content = json.loads(path.read_text())
    assert path == tmp_path / "out" / "dataset_description.json"
    assert {"Name", "BIDSVersion", "DatasetType", "GeneratedBy"} == set(content)
    assert content["DatasetType"] == "derivative"
    assert content["GeneratedBy"][0]["Version"] == "0.2.0"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", ['{"Name": "ds", "BIDSVersion": "1.6.0"}', '{"GeneratedBy": [{"Name": "fmriprep"}]}', "[]", "no JSON"])
def test_another_data_sets_description_stays(tmp_path, text, caplog):
    path = tmp_path / "dataset_description.json"
    path.write_text(text)
    assert write_dataset_description(tmp_path, "0.1.0") == path
    assert path.read_text() == text
    assert "dataset_description.json: left as it is; results are better kept apart" in caplog.text


def test_links_are_relative_and_safe_in_a_page():
    target = Path("out/sub-01/anat/a b#c.html")
    assert relative_link(target, start="out") == "sub-01/anat/a%20b%23c.html"
    assert relative_link("out/index.html", start="out/sub-01/anat") == "../../index.html"
