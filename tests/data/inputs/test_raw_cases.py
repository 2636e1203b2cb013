"""Raw scans become cases: T1 and T2 of a session together, with what lies beside them, and who they are of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.data import find_raw_cases
from scripts.data.inputs.raw_cases import label_beside, mask_beside, subject_of
from scripts.data.split_plan import add_participants, find_participants, read_participants
from scripts.errors import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def summary(cases: list[dict]) -> dict[str, list[str]]:
    return {case["case"]: [Path(scan["image"]).name for scan in case["scans"]] for case in cases}


def test_sessions_of_a_bids_data_set_are_cases_with_the_t1_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["ses-1_T1w", "ses-1_T2w", "ses-1_inplaneT2", "ses-2_T2w"]
    touch(tmp_path, *(f"sub-01/{name[:5]}/anat/sub-01_{name}.nii.gz" for name in names), "sub-02/anat/sub-02_T1w.nii.gz")
    with caplog.at_level(logging.WARNING):
        cases = find_raw_cases(tmp_path)
    assert summary(cases) == {
        "sub-01_ses-1": ["sub-01_ses-1_T1w.nii.gz", "sub-01_ses-1_T2w.nii.gz"],
        "sub-01_ses-2": ["sub-01_ses-2_T2w.nii.gz"],
        "sub-02": ["sub-02_T1w.nii.gz"],
    }
    assert "left out 1 T2 scan(s) of cases that have one: sub-01_ses-1_inplaneT2.nii.gz" in caplog.text
    assert [(case["subject"], case["session"]) for case in cases] == [("sub-01", "ses-1"), ("sub-01", "ses-2"), ("sub-02", "")]
    assert cases[0]["scans"][1]["t1"] == cases[0]["scans"][0]["image"]
    assert "t1" not in cases[1]["scans"][0]
    assert "that of another session is used" not in caplog.text


def test_plain_folders_pair_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/T1.nii", "a/T2.nii", "b/T1.nii", "Guys-0828-T1.nii.gz", "Guys-0828-T2.nii.gz", "late_study1_T2W.nii.gz")
    assert {name: len(scans) for name, scans in summary(find_raw_cases(tmp_path)).items()} == {
        "Guys-0828": 2, "a": 2, "b": 1, "late_study1": 1,
    }  # fmt: skip


def test_labels_beside_the_scans_come_along(tmp_path: Path) -> None:
    anat = "sub-01/anat/sub-01_"
    touch(tmp_path / "bids", f"{anat}T1w.nii.gz", f"{anat}label-lesion_mask.nii.gz")
    touch(tmp_path / "layout", "t1/x_t1.nii.gz", "t2/x_t2.nii.gz", "seg/x_seg.nii.gz", "mask/x_mask.nii.gz", "t1/y_t1.nii.gz")
    (case,) = find_raw_cases(tmp_path / "bids")
    assert case["scans"][0]["label"].endswith("sub-01_label-lesion_mask.nii.gz")
    with_label, without = find_raw_cases(tmp_path / "layout")
    labels = [Path(scan["label"]).name if "label" in scan else None for scan in with_label["scans"]]
    assert labels == ["x_seg.nii.gz", None], "it lies on the grid of one of them"
    (only_t2,) = find_raw_cases(tmp_path / "layout", modality="t2")
    assert only_t2["scans"][0]["label"].endswith("x_seg.nii.gz")
    assert "label" not in without["scans"][0]


def test_a_csv_names_scans_masks_and_labels(tmp_path: Path) -> None:
    touch(tmp_path, "in/a_T1w.nii.gz", "in/m.nii.gz", "in/l.nii.gz", "in/b_T1w.nii.gz")
    (tmp_path / "list.csv").write_text("img_path,mask_path,seg_path\nin/a_T1w.nii.gz,in/m.nii.gz,in/l.nii.gz\nin/b_T1w.nii.gz,,\n")
    first, second = find_raw_cases(tmp_path / "list.csv")
    assert first["scans"][0]["brain_mask"].endswith("m.nii.gz")
    assert first["scans"][0]["label"].endswith("l.nii.gz")
    assert (first["case"], second["case"], "label" in second["scans"][0]) == ("a", "b", False)


def test_a_csv_may_name_the_t1_and_the_t2_of_a_session(tmp_path: Path) -> None:
    touch(tmp_path, "sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz", "l.nii.gz")
    (tmp_path / "list.csv").write_text("img_path,seg_path\nsub-01_T1w.nii.gz,\nsub-01_T2w.nii.gz,l.nii.gz\n")
    (case,) = find_raw_cases([tmp_path / "list.csv"])
    assert case["case"] == "sub-01"
    assert [scan["modality"] for scan in case["scans"]] == ["t1", "t2"]
    assert [scan.get("label", "")[-8:] for scan in case["scans"]] == ["", "l.nii.gz"]


def test_labels_of_a_csv_go_to_the_t2_that_its_t1_stands_for(tmp_path: Path) -> None:
    touch(tmp_path, "t1/x_t1.nii.gz", "t2/x_t2.nii.gz", "l.nii.gz")
    (tmp_path / "list.csv").write_text("img_path,seg_path\n/t1/x_t1.nii.gz,l.nii.gz\n")
    (case,) = find_raw_cases(tmp_path / "list.csv", modality="t2")
    assert Path(case["scans"][0]["image"]).name == "x_t2.nii.gz"
    assert case["scans"][0]["label"].endswith("l.nii.gz")


def test_a_name_that_merely_ends_in_t1_stays_whole(tmp_path: Path) -> None:
    touch(tmp_path, "t1/subject1.nii.gz", "t1/subject2.nii.gz", "t1/patientT1.nii.gz")
    assert [case["case"] for case in find_raw_cases(tmp_path, modality="t1")] == ["patient", "subject1", "subject2"]


def test_companions_of_derivatives_are_found_by_their_entities(tmp_path: Path) -> None:
    stem = "sub-01_space-MNI_"
    touch(tmp_path, f"{stem}desc-preproc_T1w.nii.gz", f"{stem}desc-brain_mask.nii.gz")
    assert mask_beside(tmp_path / f"{stem}desc-preproc_T1w.nii.gz") == tmp_path / f"{stem}desc-brain_mask.nii.gz"
    assert label_beside(tmp_path / f"{stem}desc-preproc_T1w.nii.gz") is None


@pytest.mark.parametrize(
    ("case", "expected"),
    [("sub-01_ses-2_run-1", ("sub-01", "ses-2")), ("sub-01", ("sub-01", "")), ("IXI002-Guys", ("IXI002-Guys", ""))],
)
def test_the_name_says_the_subject(case: str, expected: tuple[str, str]) -> None:
    assert subject_of(case) == expected


def test_participants_are_read_whatever_the_columns_are_called(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tAge\tGender\tdiagnosis\nsub-01\t31.5\tFemale\tMS\n02\tn/a\tM\t\nsub-03\t40+\tx\tHC\n")
    assert read_participants(path) == {
        "01": {"age": "31.5", "sex": "f", "group": "MS"},
        "02": {"age": "", "sex": "m", "group": ""},
        "03": {"age": "", "sex": "", "group": "HC"},
    }
    (tmp_path / "t1").mkdir()
    assert find_participants(tmp_path / "t1") == str(path)
    assert find_participants(["a.nii.gz"]) is None


def test_subjects_are_added_to_a_table_and_only_those_named_change(tmp_path: Path) -> None:
    path, more = tmp_path / "participants.tsv", tmp_path / "more.csv"
    first = "participant_id\tage\nsub-01\t30\nsub-02\t40\n"
    more.write_text(first.replace("\t", ","))
    add_participants(path, more, of=())
    assert path.read_text() == first
    more.write_text("site,ID,age\nA,01,31\nB,sub-02,41\nB,03,50\n")
    add_participants(path, more, of={"02"})
    assert path.read_text() == "participant_id\tage\tsite\nsub-01\t30\tn/a\nsub-02\t41\tB\n03\t50\tB\n"
    more.write_text("age\n3\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"more\.csv.*no column names the participants"):
        add_participants(path, more, of=())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tage\nx\t3\n", "no column names the participants; columns found: name, age. Add the column participant_id"),
        ("participant_id\tage\nsub-1\t3\n1\t4\n", "participant '1' stands there twice"),
        (None, "the table of participants cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "participants.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_participants(path)
