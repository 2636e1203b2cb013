from __future__ import annotations

import re
import shutil
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from scripts.data.records import DatasetRecord, Role, available_records, load_record, load_records
from scripts.errors import InputError
from scripts.paths import bundle_root

# The table of DESIGN section 3 and of the real data's description.
TABLE = {
    "IXI": ("Train/ixi", "healthy", ("t1", "t2"), ("train", "val", "test"), ("t2",)),
    "Brats21": ("Test/Brats21", "lesion", ("t1", "t2"), ("val", "test"), ()),
    "MSLUB": ("Test/MSLUB", "lesion", ("t1", "t2"), ("val", "test"), ()),
    "ATLAS_v2": ("Test/ATLAS_v2", "lesion", ("t1",), ("val", "test"), ()),
    "WMH": ("Test/WMH", "lesion", ("t1",), ("val", "test"), ()),
    "ds002748": ("Train/ds002748", "healthy", ("t1",), ("train", "val", "test"), ()),
    "ds000011": ("Train/ds000011", "healthy", ("t1", "t2"), ("train", "val"), ()),
    "SyntheticStroke": ("Test/SyntheticStroke", "lesion", ("t1",), ("val", "test"), ()),
}
VALID = "name: Mine\nfolder: Train/mine\nrole: healthy\nmodalities: [t1, t2]\nsplits: {train: 'mine_{fold}.csv'}\n"


@pytest.fixture
def record() -> DatasetRecord:
    return load_record("IXI")


def test_there_is_a_record_for_every_set_of_the_table() -> None:
    assert set(available_records()) == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_record_agrees_with_the_table(name: str) -> None:
    record = load_record(name)
    found = (record.folder, record.role, record.modalities, tuple(record.splits), tuple(record.availability))
    assert record.name == name
    assert found == TABLE[name]
    for split, pattern in record.splits.items():
        folds = "_fold{fold}" if record.role is Role.HEALTHY and split != "test" else ""
        assert pattern == f"{name}_{split}{folds}.csv"


@pytest.mark.parametrize("name", TABLE)
def test_record_states_pathology_licence_and_citation(name: str) -> None:
    record = load_record(name)
    assert (record.pathology == "none") == (record.role is Role.HEALTHY)
    assert "not stated" not in (record.licence, record.citation)
    assert re.search(r"doi:10\.|arXiv:|https://", record.citation)


def test_synthetic_cases_belong_to_the_subjects_of_their_source() -> None:
    record = load_record("SyntheticStroke")
    assert (record.subject_column, record.subject_source) == ("group", "ds002748")


def test_record_cannot_be_changed(record: DatasetRecord) -> None:
    with pytest.raises(FrozenInstanceError):
        record.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("csv_path", "expected"),
    [
        ("/Train/ixi/t1/IXI012-HH-1211_t1.nii.gz", "/Train/ixi/t2/IXI012-HH-1211_t2.nii.gz"),
        ("/Train/ixi/t1/a_t1_b_t1.nii", "/Train/ixi/t2/a_t1_b_t2.nii"),
        ("/Train/ixi/t1/a.v2_t1.nii.gz", "/Train/ixi/t2/a.v2_t2.nii.gz"),
    ],
)
def test_other_modality_is_found_beside_the_first(record: DatasetRecord, csv_path: str, expected: str) -> None:
    assert record.image_path(csv_path, "t1") == csv_path
    assert record.image_path(csv_path, "t2") == expected


def test_place_of_the_other_modality_can_be_overridden(record: DatasetRecord) -> None:
    bids = replace(record, derived_path="{parent}/anat/{stem}_{modality}w{ext}")
    assert bids.image_path("/Train/ixi/t1/sub-01_t1.nii.gz", "t2") == "/Train/ixi/anat/sub-01_t2w.nii.gz"


@pytest.mark.parametrize(
    "name", ["patient26", "patient26_t1.nii.gz", "patient26_t2.nii", "/Test/MSLUB/t1/patient26_t1.nii.gz"]
)
def test_stem_is_the_bare_name(record: DatasetRecord, name: str) -> None:
    assert record.stem(name) == "patient26"


def test_unknown_modality_and_split_list_those_of_the_record() -> None:
    record = load_record("ATLAS_v2")
    with pytest.raises(InputError, match="`modality` must be one of t1 for ATLAS_v2, got 't2'"):
        record.image_path("/Test/ATLAS_v2/t1/a_t1.nii.gz", "t2")
    with pytest.raises(InputError, match="`split` must be one of val, test for ATLAS_v2, got 'train'"):
        record.split_pattern("train")


def test_unknown_name_lists_the_records() -> None:
    with pytest.raises(
        InputError, match=r"`dataset` must be one of ATLAS_v2, Brats21, .*, got 'ixi'\. To add a data set"
    ):
        load_record("ixi")


def test_a_set_is_added_with_a_record_by_path(tmp_path: Path) -> None:
    (tmp_path / "Mine.yaml").write_text(VALID)
    record = load_record(tmp_path / "Mine.yaml")
    assert record.subject_source == "Mine"
    assert record.licence == "not stated"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "colour: red\n", r"`colour`: Unexpected keyword argument, got 'red'. The keys are name, folder, role"),
        ("name: Mine\n", "", "`name`: Field required. The keys"),
        ("name: Mine", "name: 7", "`name`: Input should be a valid string, got 7"),
        ("healthy", "sick", "`role`: Input should be 'healthy' or 'lesion', got 'sick'"),
        ("[t1, t2]", "t1", "`modalities`: Input should be a valid tuple, got 't1'"),
        ("[t1, t2]", "[t1, t1]", "`modalities`: must name none twice"),
        ("{train: 'mine_{fold}.csv'}", "{}", "`splits`: Dictionary should have at least 1 item"),
        ("train:", "training:", r"`splits.training.*Input should be 'train', 'val' or 'test'"),
        ("mine_{fold}", "mine_{part}", "`splits.train`: must be a text with no other placeholders than fold"),
        ("mine_{fold}.csv", "mine_{fold.csv", "`splits.train`: expected '}' before end of string"),
        ("", "availability: {flair: a.csv}\n", "`availability` must have keys out of t1, t2, got flair"),
        (
            "",
            "derived_path: '{folder}/x'\n",
            "`derived_path`: must be a text with no other placeholders than parent, stem",
        ),
        (VALID, "- a\n- b\n", "must hold a mapping of keys to values, got list"),
        (VALID, "name: [", "not a YAML file"),
    ],
)
def test_invalid_record_names_the_file_and_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "Mine.yaml"
    path.write_text(VALID.replace(old, new, 1) if old else VALID + new)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{message}"):
        load_record(path)


def test_missing_record_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: file not found"):
        load_record(tmp_path / "none.yaml")


@pytest.mark.parametrize("datasets", [[], ["IXI", "IXI"]])
def test_datasets_must_be_named_once(datasets: list[str]) -> None:
    with pytest.raises(InputError, match="`datasets` must name at least one data set and none twice"):
        load_records(datasets)


def test_records_are_found_in_a_packaged_bundle_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(bundle_root()) / "configs" / "datasets", tmp_path / "configs" / "datasets")
    monkeypatch.setattr("scripts.paths.project_root", lambda: tmp_path)
    assert bundle_root() == str(tmp_path)
    assert load_record("MSLUB").pathology == "multiple sclerosis"
    shutil.rmtree(tmp_path / "configs")
    with pytest.raises(InputError, match=r"the folder of data set records is missing\. Give the path of a record"):
        load_record("MSLUB")
