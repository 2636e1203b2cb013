"""Which scan is compared with which."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.data.inputs.sessions import find_sessions
from scripts.errors import InputError

FILES = (
    "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz", "sub-01/ses-10/anat/sub-01_ses-10_acq-hi_T1w.nii.gz",
    "sub-01/ses-10/anat/sub-01_ses-10_acq-lo_T1w.nii.gz", "sub-01/ses-1/anat/sub-01_ses-1_acq-lo_T1w.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz",
    "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz", "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz",
    "sub-03/anat/sub-03_T1w.nii.gz", "dataset_description.json",
)  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """Empty files by their names."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def pairs(items):
    """Return names of follow-up and baseline, after checking that every baseline stands before its follow-up."""
    cases = [item["case"] for item in items]
    found = {item["case"]: item["baseline_case"] for item in items if "baseline_case" in item}
    for followup, baseline in found.items():
        assert cases.index(baseline) < cases.index(followup)
        assert all(item["also_save"] == "anomaly_map,brain_mask" for item in items if item["case"] in (followup, baseline))
    assert len(cases) == len(set(cases))
    return found


def test_sessions_of_bids_are_compared_with_the_first_that_is_named_most_alike(files):
    items = find_sessions(files(*FILES), longitudinal=True)
    assert pairs(items) == {
        "sub-01_ses-2_T1w": "sub-01_ses-1_acq-hi_T1w",
        "sub-01_ses-10_acq-hi_T1w": "sub-01_ses-1_acq-hi_T1w",
        "sub-01_ses-10_acq-lo_T1w": "sub-01_ses-1_acq-lo_T1w",
        "sub-02_ses-b_T1w": "sub-02_ses-a_T1w",
    }
    assert len(items) == len(FILES) - 1
    assert not any("baseline_case" in item for item in find_sessions(files(*FILES)))


def test_the_acquisition_times_say_which_session_is_the_first(files):
    root = files(*FILES)
    table = root / "sub-02" / "sub-02_sessions.tsv"
    table.write_text("session_id\tacq_time\nses-a\t2021-03-01T10:00:00\nses-b\t2019-12-31T09:00:00\n")
    assert pairs(find_sessions(root, longitudinal=True))["sub-02_ses-a_T1w"] == "sub-02_ses-b_T1w"
    table.write_text("session_id\tacq_time\nses-a\t2021-03-01T10:00:00\nses-b\tn/a\n")
    assert pairs(find_sessions(root, longitudinal=True))["sub-02_ses-b_T1w"] == "sub-02_ses-a_T1w"


def test_a_named_baseline_goes_first_and_each_modality_has_its_own(files):
    root = files("then/s_T1w.nii.gz", "then/s_T2w.nii.gz", "now/s_T1w.nii.gz", "now/s_T2w.nii.gz")
    items = find_sessions(root / "now", baseline=root / "then")
    assert pairs(items) == {"now_s_T1w": "then_s_T1w", "now_s_T2w": "then_s_T2w"}
    assert items[2]["baseline"] == str(root / "then" / "s_T1w.nii.gz")


def test_masks_and_t1_partners_are_those_of_the_followup(files):
    root = files("then_T2w.nii.gz", "now_T2w.nii.gz", "now_mask.nii.gz", "now_T1w.nii.gz")
    names = {"brain_mask": root / "now_mask.nii.gz", "t1": root / "now_T1w.nii.gz"}
    first, last = find_sessions(root / "now_T2w.nii.gz", baseline=root / "then_T2w.nii.gz", **names)
    assert {key: last[key] for key in names} == {key: str(path) for key, path in names.items()}
    assert not names.keys() & first.keys()


@pytest.mark.parametrize(
    ("scans", "options", "message"),
    [
        (["a_T1w.nii.gz", "b_T1w.nii.gz"], {"baseline": "c_T1w.nii.gz"}, "a baseline goes with one scan of a modality, and 2 t1 scans"),
        (["a_T1w.nii.gz"], {"baseline": "c_T2w.nii.gz"}, r"the baseline must hold one t1 scan to compare with, got 0 \(none\)"),
        (["a_T1w.nii.gz"], {"baseline": "a_T1w.nii.gz"}, "the scan is named twice"),
        (["a_T1w.nii.gz"], {"baseline": "c_T1w.nii.gz", "longitudinal": True}, "exclude each other"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_baseline_is_refused(files, scans, options, message):
    root = files("a_T1w.nii.gz", "b_T1w.nii.gz", "c_T1w.nii.gz", "c_T2w.nii.gz")
    with pytest.raises(InputError, match=message):
        find_sessions([root / name for name in scans], **{**options, "baseline": root / options["baseline"]})


def test_a_data_set_of_single_sessions_is_analysed_with_a_warning(files, caplog):
    with caplog.at_level(logging.WARNING):
        items = find_sessions(files("sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz"), longitudinal=True)
    assert len(items) == 1
    assert "No subject has two sessions of one modality" in caplog.text
