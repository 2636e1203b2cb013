from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from monai.data import list_data_collate

from scripts.data.datalists import load_datalist, load_datalists
from scripts.data.phantom import PUBLISHED, write_phantom_tree
from scripts.data.records import load_record
from scripts.errors import InputError

HEADER = "img_name,img_path,mask_path,seg_path"
ROW = "p1,/Test/MSLUB/t1/p1_t1.nii.gz,/Test/MSLUB/mask/p1_mask.nii.gz,/Test/MSLUB/seg/p1_seg.nii.gz"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_tree(tmp_path_factory.mktemp("tree"), shape=(8, 8, 8))


def write_mslub(root: Path, text: str, *, cases: tuple[str, ...] = ("p1",)) -> Path:
    """Write a CSV and empty files in the place of the volumes; the datalist opens no image."""
    for case in cases:
        for kind in ("t1", "t2", "mask", "seg"):
            path = root / "Test" / "MSLUB" / kind / f"{case}_{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / "splits").mkdir()
    path = root / "splits" / "MSLUB_test.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_split_of_the_published_layout_loads_in_every_modality(tree: Path, name: str) -> None:
    record = load_record(name)
    for split in record.splits:
        for modality in record.modalities:
            items = load_datalist(tree, name, split, modality=modality)
            for item in items:
                expected = tree / record.folder / modality / f"{item['case']}_{modality}.nii.gz"
                assert item["image"] == str(expected)
                assert expected.is_file()
                assert item["brain_mask"] == str(tree / record.folder / "mask" / f"{item['case']}_mask.nii.gz")
                assert ("label" in item) == (record.role == "lesion")
                assert (item["dataset"], item["modality"]) == (name, modality)
            assert len(items) >= 2


def test_folds_validate_on_other_subjects_than_they_train_on(tree: Path) -> None:
    validated = set()
    for fold in range(5):
        train = {item["subject"] for item in load_datalist(tree, "IXI", "train", fold=fold)}
        val = {item["subject"] for item in load_datalist(tree, "IXI", "val", fold=fold)}
        assert not train & val
        assert (len(train), len(val)) == (3, 2)
        validated |= val
    assert len(validated) == 5


def test_t2_leaves_out_the_subjects_that_the_list_lacks(tree: Path) -> None:
    cases = {
        modality: {item["case"] for item in load_datalist(tree, "IXI", "train", modality=modality)}
        for modality in ("t1", "t2")
    }
    assert cases["t1"] - cases["t2"] == {"IXI-005"}
    assert cases["t2"] < cases["t1"]


def test_list_of_subjects_may_lack_header_and_index(tree: Path, tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path / "tree", datasets="IXI", shape=(8, 8, 8), num_folds=1)
    published = load_datalist(root, "IXI", "train", modality="t2")
    (root / "splits" / "avail_t2.csv").write_text("IXI-003\nIXI-004_t2.nii.gz\n")
    assert load_datalist(root, "IXI", "train", modality="t2") == published
    (root / "splits" / "avail_t2.csv").write_text("IXI-009\n")
    with pytest.raises(InputError, match=r"none of its 3 subjects has t2 according to avail_t2\.csv"):
        load_datalist(root, "IXI", "train", modality="t2")
    (root / "splits" / "avail_t2.csv").unlink()
    with pytest.raises(InputError, match=r"avail_t2\.csv: CSV not found\. It lists the subjects of IXI that have t2"):
        load_datalist(root, "IXI", "train", modality="t2")


def test_published_columns_are_carried_as_text(tmp_path: Path) -> None:
    text = f',{HEADER},age,"SEX (1=m, 2=f)",Location\n28,{ROW},26.5,2,"Frontal Lobe, Insula"\n'
    write_mslub(tmp_path, "\ufeff" + text.replace("\n", "\r\n"))
    (item,) = load_datalist(tmp_path, "MSLUB", "test")
    assert item["case"] == "p1"
    assert item["subject"] == "MSLUB/p1"
    assert item["attributes"] == {
        "img_name": "p1",
        "age": "26.5",
        "SEX (1=m, 2=f)": "2",
        "Location": "Frontal Lobe, Insula",
    }


def test_case_and_subject_of_several_sessions_differ(tmp_path: Path) -> None:
    rows = [ROW.replace("/p1_", f"/p1_ses-{session}_") for session in (1, 2)]
    write_mslub(tmp_path, "\n".join([HEADER, *rows]), cases=("p1_ses-1", "p1_ses-2"))
    items = load_datalist(tmp_path, "MSLUB", "test")
    assert [item["case"] for item in items] == ["p1_ses-1", "p1_ses-2"]
    assert {item["subject"] for item in items} == {"MSLUB/p1"}


def test_repeated_rows_are_dropped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = ROW.replace("p1", "p2")
    write_mslub(tmp_path, f"{HEADER},age\n{ROW},63\n{other},50\n{ROW},64\n", cases=("p1", "p2"))
    with caplog.at_level(logging.WARNING):
        items = load_datalist(tmp_path, "MSLUB", "test")
    assert [item["case"] for item in items] == ["p1", "p2"]
    assert items[0]["attributes"]["age"] == "63"
    assert "dropped 1 repeated row(s): p1" in caplog.text


def test_healthy_set_may_have_segmentations(tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path / "tree", datasets=["MSLUB"], shape=(8, 8, 8))
    path = tmp_path / "Healthy.yaml"
    path.write_text("name: Healthy\nfolder: x\nrole: healthy\nmodalities: [t1]\nsplits: {test: MSLUB_test.csv}\n")
    assert all("label" in item for item in load_datalist(root, path, "test"))


def test_limit_keeps_the_first_and_needs_only_their_files(tmp_path: Path) -> None:
    write_mslub(tmp_path, "\n".join([HEADER, ROW, ROW.replace("p1", "p2")]))
    assert [item["case"] for item in load_datalist(tmp_path, "MSLUB", "test", limit=1)] == ["p1"]
    with pytest.raises(InputError, match="`limit` must be a whole number from 1 on, got 0"):
        load_datalist(tmp_path, "MSLUB", "test", limit=0)


def test_paths_may_lack_the_slash_start_at_the_folder_or_use_backslashes(tmp_path: Path) -> None:
    write_mslub(tmp_path, f"{HEADER}\n{ROW}\n")
    expected = load_datalist(tmp_path, "MSLUB", "test", modality="t2")
    for row in (ROW.replace(",/", ","), ROW.replace(",/", f",{tmp_path}/"), ROW.replace("/", "\\")):
        (tmp_path / "splits" / "MSLUB_test.csv").write_text(f"{HEADER}\n{row}\n")
        assert load_datalist(tmp_path, "MSLUB", "test", modality="t2") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column missing: img_name .*; columns found: none"),
        (f"{HEADER}\n", "no rows below the header"),
        (f"{HEADER}\n\n , \n", "no rows below the header"),
        (
            f"{HEADER}\n{ROW}\n".replace("mask_path", "mask"),
            r"column missing: mask_path \(the path of its brain mask\); columns found: img_name, img_path, mask,",
        ),
        (
            f"{HEADER}\n{ROW}\n".replace("seg_path", "seg"),
            "column missing: seg_path .*which every case of a lesion set needs",
        ),
        (f"{HEADER}\n{ROW}\n".replace(",", ";"), "column missing: img_name .*separated by commas"),
        (
            f"{HEADER}\n{ROW}\n" + ROW.rsplit(",", 1)[0] + ",\n",
            r"row 2 \(p1\) has no value for seg_path .*which every case of a lesion set needs",
        ),
        (f"{HEADER}\np1\n", r"row 1 \(p1\) has no value for img_path \(the path of its t1 image\); mask_path"),
        (f"{HEADER}\n{ROW},a,b\n", "row 1 has 6 values for 4 columns"),
        (f'{HEADER}\n"{ROW}\n', "not a CSV file in UTF-8"),
        (
            f"{HEADER}\n{ROW.replace('p1_t1', 'p7_t1')}\n",
            r"1 of 3 files that it names do not exist: .*p7_t1\.nii\.gz\. Check `dataset_dir`",
        ),
        (
            "\n".join([HEADER, *(ROW.replace("p1", f"q{n}") for n in range(4))]),
            r"12 of 12 files .*q0_t1.*q0_mask.*q0_seg\.nii\.gz, …",
        ),
        (
            f"{HEADER}\n{ROW.replace('/Test/MSLUB/t1', '/../other')}\n",
            r"path '/\.\./other/p1_t1\.nii\.gz' leads out of `dataset_dir`",
        ),
        (f"{HEADER}\n{ROW.replace('/Test/MSLUB/mask', '/Test/../../x')}\n", "leads out of `dataset_dir`"),
        (f"{HEADER}\n{ROW.replace('/Test/MSLUB/t1', 'C:/scans')}\n", "path 'C:/scans/.*leads out of `dataset_dir`"),
        (
            f"{HEADER}\n{ROW}\n{ROW.replace('/Test/MSLUB/t1', '/Test/MSLUB/x')}\n",
            "different images have the same file name: p1",
        ),
    ],
)
def test_unusable_csv_is_named_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = write_mslub(tmp_path, text)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{message}"):
        load_datalist(tmp_path, "MSLUB", "test")


def test_absolute_path_of_an_existing_file_elsewhere_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret_t1.nii.gz"
    elsewhere.touch()
    root = tmp_path / "data"
    root.mkdir()
    write_mslub(root, f"{HEADER}\n{ROW.replace('/Test/MSLUB/t1/p1_t1.nii.gz', str(elsewhere))}\n")
    with pytest.raises(
        InputError, match=r"path '.*secret_t1\.nii\.gz' leads out of `dataset_dir`.*Paths must start at"
    ):
        load_datalist(root, "MSLUB", "test")


def test_climbing_through_the_folder_itself_is_refused(tmp_path: Path) -> None:
    write_mslub(tmp_path, f"{HEADER}\n{ROW.replace('/Test/MSLUB/t1', f'{tmp_path}/../x')}\n")
    with pytest.raises(InputError, match="leads out of `dataset_dir`"):
        load_datalist(tmp_path, "MSLUB", "test")


def test_linked_folders_are_followed(tree: Path, tmp_path: Path) -> None:
    for part in ("Train", "Test", "splits"):
        (tmp_path / part).symlink_to(tree / part)
    assert len(load_datalist(tmp_path, "WMH", "test")) == 2


def test_invalid_arguments_are_answered_before_anything_is_read(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: `dataset_dir` is not a folder\. Give --dataset_dir the folder that"):
        load_datalist(tmp_path / "nowhere", "IXI", "train")
    with pytest.raises(InputError, match="`modality` must be one of t1, t2 for IXI, got 'flair'"):
        load_datalist(tree, "IXI", "train", modality="flair")
    with pytest.raises(InputError, match="`split` must be one of val, test for MSLUB, got 'train'"):
        load_datalist(tree, "MSLUB", "train")
    with pytest.raises(InputError, match="`fold` must be one of 0, 1, 2, 3, 4 for train of IXI, got 7"):
        load_datalist(tree, "IXI", "train", fold=7)
    with pytest.raises(InputError, match=r"MSLUB_test\.csv: split CSV not found\. Put the test split of MSLUB there"):
        load_datalist(tmp_path, "MSLUB", "test")


def test_several_sets_follow_each_other_and_can_be_batched(tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path / "tree", datasets=["WMH", "SyntheticStroke"], shape=(8, 8, 8))
    items = load_datalists(root, ["WMH", "SyntheticStroke"], "test")
    assert [item["dataset"] for item in items] == ["WMH"] * 2 + ["SyntheticStroke"] * 2
    batch = list_data_collate(items)
    assert batch["attributes"]["group"] == ["", "", "ds002748-006_t1.nii.gz", "ds002748-007_t1.nii.gz"]
    assert load_datalists(root, "WMH", "test", limit=1) == load_datalist(root, "WMH", "test", limit=1)


@pytest.mark.parametrize(
    ("name", "split", "folds", "counts"),
    [
        ("ds002748", "train", 5, {48}),
        ("ds002748", "val", 5, {12}),
        ("ds002748", "test", 1, {12}),
        ("ds000011", "train", 1, {11}),
        ("ds000011", "val", 1, {3}),
        ("SyntheticStroke", "val", 1, {8}),
        ("SyntheticStroke", "test", 1, {10}),
        ("MSLUB", "test", 1, {1}),
    ],
)
def test_real_split_loads_in_every_modality(
    data_dir: Path, name: str, split: str, folds: int, counts: set[int]
) -> None:
    record = load_record(name)
    for modality in record.modalities:
        lists = [load_datalist(data_dir, name, split, modality=modality, fold=fold) for fold in range(folds)]
        assert {len(items) for items in lists} == counts
        for item in lists[0]:
            assert all(Path(item[key]).is_file() for key in ("image", "brain_mask"))
            assert ("label" in item) == (record.role == "lesion")
            assert f"/{modality}/" in item["image"]
            assert set(item["attributes"]) == {"img_name", "age", "sex", "group", "label"}
