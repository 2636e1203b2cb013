"""BIDS data sets and CSVs as input."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from monai.data import list_data_collate

from scripts.data.inputs.find import find_scans
from scripts.data.phantom import write_phantom_tree
from scripts.errors import InputError

FILES = (
    "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "sub-01/anat/sub-01_FLAIR.nii.gz",
    "sub-01/anat/sub-01_T1w.json", "sub-01/anat/sub-01_ce-gd_T1w.nii.gz", "sub-01/func/sub-01_task-rest_bold.nii.gz",
    "sub-02/ses-1/anat/sub-02_ses-1_acq-hi_run-1_T1w.nii", "sub-02/ses-1/anat/sub-02_ses-1_acq-lo_run-2_T1w.nii",
    "sub-02/ses-1/anat/sub-02_ses-1_acq-lo_run-2_T2w.nii", "sub-02/ses-1/anat/sub-02_ses-1_inplaneT2.nii.gz",
    "sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz", "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
    "sub-03/anat/sub-03_space-T1w_desc-reconstruction_T1w.nii.gz",
)  # fmt: skip


@pytest.fixture
def bids(tmp_path) -> Path:
    """A BIDS data set of empty files."""
    root = tmp_path / "bids"
    for name in ("dataset_description.json", *FILES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_bids_scans_get_their_names_folders_and_modalities(bids, caplog):
    with caplog.at_level(logging.INFO):
        items = {item["case"]: item for item in find_scans(bids)}
    assert list(items) == [
        "sub-01_T1w", "sub-01_T2w", "sub-02_ses-1_acq-hi_run-1_T1w", "sub-02_ses-1_acq-lo_run-2_T1w",
        "sub-02_ses-1_acq-lo_run-2_T2w", "sub-02_ses-1_inplaneT2", "sub-02_ses-2_T2w",
    ]  # fmt: skip
    assert items["sub-02_ses-1_acq-hi_run-1_T1w"] == {
        "image": str(bids / FILES[6]),
        "case": "sub-02_ses-1_acq-hi_run-1_T1w",
        "modality": "t1",
        "folder": "sub-02/ses-1/anat",
        "stem": "sub-02_ses-1_acq-hi_run-1",
        "bids_suffix": "T1w",
        "dataset": "input",
    }
    assert "left out 2 file(s) that are not wanted, or not here: sub-01_ce-gd_T1w.nii.gz, sub-03_space" in caplog.text


def test_a_t2_gets_the_t1_of_its_session_that_is_named_most_alike(bids):
    t1 = {item["case"]: Path(item["t1"]).name for item in find_scans(bids) if "t1" in item}
    assert t1 == {
        "sub-01_T2w": "sub-01_T1w.nii.gz",
        "sub-02_ses-1_acq-lo_run-2_T2w": "sub-02_ses-1_acq-lo_run-2_T1w.nii",
        "sub-02_ses-1_inplaneT2": "sub-02_ses-1_acq-hi_run-1_T1w.nii",
        "sub-02_ses-2_T2w": "sub-02_ses-1_acq-hi_run-1_T1w.nii",  # of another session
    }
    only_t2 = find_scans(bids, modality="t2")
    assert [item["modality"] for item in only_t2] == ["t2"] * 4
    assert all("t1" in item for item in only_t2)


def test_without_a_description_and_for_one_subject_it_is_bids_too(bids, monkeypatch):
    (bids / "dataset_description.json").unlink()
    assert len(find_scans(bids)) == 7
    monkeypatch.chdir(bids / "sub-01")
    for subject in (bids / "sub-01", "."):
        items = find_scans(subject)
        assert [(item["folder"], item["stem"]) for item in items] == [("sub-01/anat", "sub-01")] * 2


def test_a_folder_named_like_a_subject_without_bids_names_is_a_plain_one(tmp_path):
    path = tmp_path / "sub-01" / "anat" / "T1.nii"
    path.parent.mkdir(parents=True)
    path.touch()
    assert [item["case"] for item in find_scans([tmp_path / "sub-01"])] == ["T1"]


def test_a_data_set_without_such_scans_is_refused(bids):
    for name in FILES:
        if name.endswith(("T1w.nii", "T1w.nii.gz")):
            (bids / name).unlink()
    with pytest.raises(InputError, match=re.escape("holds no sub-*/[ses-*/]anat/*_{T1w,inplaneT1}.nii[.gz]")):
        find_scans(bids, modality="t1")
    assert [item for item in find_scans(bids) if "t1" in item] == []


def test_the_real_bids_set_pairs_the_in_plane_t2_with_its_t1(data_dir):
    t1, t2 = find_scans(data_dir / "raw" / "ds000011")
    assert (t1["modality"], t2["modality"]) == ("t1", "t2")
    assert t2["t1"] == t1["image"]
    assert (t2["folder"], t2["stem"], t2["bids_suffix"]) == ("sub-12/anat", "sub-12", "inplaneT2")


@pytest.mark.parametrize("modality", ["t1", "t2"])
def test_a_csv_of_the_published_layout_gives_either_modality(tmp_path, modality):
    root = write_phantom_tree(tmp_path / "tree", datasets="MSLUB", shape=(8, 8, 8))
    items = find_scans(root / "splits" / "MSLUB_test.csv", modality=modality)
    assert len(items) == 2
    for item in items:
        assert Path(item["image"]) == root / "Test" / "MSLUB" / modality / f"{item['case']}_{modality}.nii.gz"
        assert Path(item["brain_mask"]) == root / "Test" / "MSLUB" / "mask" / f"{item['case']}_mask.nii.gz"
        assert set(item) == {"image", "brain_mask", "case", "folder", "stem", "modality", "dataset"}
    assert list_data_collate(items)["modality"] == [modality] * 2


def test_a_csv_may_name_files_beside_it_absolute_and_twice(tmp_path, caplog):
    for name in ("a_t1.nii", "b_t1.nii"):
        (tmp_path / name).touch()
    table = tmp_path / "scans.csv"
    table.write_text(f"img_path,img_name\na_t1.nii,first\n{tmp_path}/b_t1.nii,\n/a_t1.nii,again\n")
    assert [(item["case"], Path(item["image"]).name) for item in find_scans(str(table))] == [("first", "a_t1.nii"), ("b", "b_t1.nii")]
    assert "dropped 1 repeated row(s): again" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", r"column missing: img_path \(the path of the scan\)"),
        ("img_path\n/Test/t1/none.nii\n", r"scans\.csv: it names a scan that does not exist: /Test/t1/none\.nii\. Paths must be"),
        ("img_path,mask_path\na_t1.nii,none.nii\n", r"it names a brain mask that does not exist: none\.nii"),
        ("img_path\na_t1.nii\nscans.csv\n", r"scans\.csv: the name must end in \.nii\.gz"),
    ],
)
def test_a_csv_that_names_something_else_is_refused(tmp_path, text, message):
    (tmp_path / "a_t1.nii").touch()
    (tmp_path / "scans.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        find_scans(tmp_path / "scans.csv")
