"""Filters as fMRIPrep has them, labels of sessions, and the T1 of another session."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from scripts.data.inputs.sessions import find_sessions
from scripts.errors import InputError

FILES = (
    "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_run-01_T1w.nii.gz", "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_run-02_T1w.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz", "dataset_description.json",
)  # fmt: skip


@pytest.fixture
def bids(tmp_path) -> Path:
    """A BIDS data set of empty files."""
    for name in FILES:
        path = tmp_path / "bids" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "bids"


@pytest.fixture
def found(bids, tmp_path):
    """The names of what a filter lets pass."""

    def run(content, **options):
        path = tmp_path / "filter.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return [item["case"].removeprefix("sub-01_") for item in find_sessions(bids, bids_filter_file=path, **options)]

    return run


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"acquisition": "hi"}, ["ses-1_acq-hi_run-01_T1w", "ses-1_acq-hi_run-02_T1w"]),
        ({"acquisition": None}, ["ses-1_T1w"]),
        ({"acquisition": "*", "run": 1}, ["ses-1_acq-hi_run-01_T1w"]),
        ({"run": ["2", 3]}, ["ses-1_acq-hi_run-02_T1w"]),
        ({"run": ["2", None], "suffix": "T1w", "datatype": "anat", "extension": ".nii.gz"}, ["ses-1_T1w", "ses-1_acq-hi_run-02_T1w"]),
    ],
)  # fmt: skip
def test_entities_choose_among_the_t1_scans_and_leave_the_t2_alone(found, section, expected, caplog):
    with caplog.at_level(logging.INFO):
        names = found({"t1w": section, "bold": {"task": "rest"}})
    assert sorted(names) == sorted([*expected, "ses-1_T2w", "ses-2_T2w"])
    assert "ignored: bold" in caplog.text


def test_labels_of_sessions_choose_too(found, bids):
    assert found({"t2w": {"session": "2"}}, modality="t2") == ["ses-2_T2w"]
    assert [item["case"] for item in find_sessions(bids, session_label=["ses-2"])] == ["sub-01_ses-2_T2w"]
    assert find_sessions(bids, session_label="2") == find_sessions(bids, session_label=["ses-2"])


def test_a_t2_without_t1_in_its_session_takes_that_of_another_one_with_a_warning(bids, caplog):
    with caplog.at_level(logging.WARNING):
        t1 = {item["case"]: Path(item["t1"]).name for item in find_sessions(bids, modality="t2")}
    assert t1 == {"sub-01_ses-1_T2w": "sub-01_ses-1_T1w.nii.gz", "sub-01_ses-2_T2w": "sub-01_ses-1_T1w.nii.gz"}
    assert caplog.messages == [
        "sub-01_ses-2_T2w.nii.gz: its session has no T1w; that of another session is used: sub-01_ses-1_T1w.nii.gz"
    ]


def test_the_partner_obeys_the_filter_of_t1_scans_but_for_the_session(bids, tmp_path):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"t1w": {"run": 2, "session": "9"}}))
    items = find_sessions(bids, bids_filter_file=path, session_label=["2"])
    assert [Path(item["t1"]).name for item in items] == ["sub-01_ses-1_acq-hi_run-02_T1w.nii.gz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "the BIDS filter cannot be read"),
        ([1], "must hold a section"),
        ({"t1w": {"acq": "hi"}}, "the BIDS filter names no entity of BIDS: acq"),
        ({"t1w": {"datatype": "func"}}, "`datatype` must be anat, got 'func'"),
        ({"t1w": {"acquisition": "lo"}, "t2w": {"run": 1}}, "holds no .* that the filter lets pass"),
    ],
)
def test_what_is_no_filter_or_lets_nothing_pass_is_refused(found, content, message):
    with pytest.raises(InputError, match=message):
        found(content)


def test_a_plain_folder_takes_no_filter(tmp_path):
    (tmp_path / "a_T1w.nii.gz").touch()
    with pytest.raises(InputError, match="session labels and BIDS filters go with BIDS data sets"):
        find_sessions(tmp_path / "a_T1w.nii.gz", session_label=["1"])
