"""The generated tree has what the five published sets have: every record, split, fold and modality loads from it."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.data import load_datalist, load_record, load_splits
from scripts.data.phantom import PUBLISHED, write_phantom_tree
from tests.leaks import find_leaks

LAYOUT = {
    "Train/ixi": {"t1", "t2", "mask"},
    "Test/Brats21": {"t1", "t2", "mask", "seg"},
    "Test/MSLUB": {"t1", "t2", "mask", "seg"},
    "Test/ATLAS_v2": {"t1", "mask", "seg"},
    "Test/WMH": {"t1", "mask", "seg"},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five sets as `python -m scripts.cli.make_phantom` writes them by default, only smaller."""
    return write_phantom_tree(tmp_path_factory.mktemp("published"), shape=(8, 8, 8), spacing=4)


def test_folders_and_csv_files_are_those_of_the_published_data(tree: Path) -> None:
    for folder, kinds in LAYOUT.items():
        assert {path.name for path in (tree / folder).iterdir()} == kinds
    healthy = {f"IXI_{split}_fold{fold}.csv" for split in ("train", "val") for fold in range(5)}
    lesion = {f"{name}_{split}.csv" for name in PUBLISHED[1:] for split in ("val", "test")}
    assert {path.name for path in (tree / "splits").iterdir()} == {*healthy, *lesion, "IXI_test.csv", "avail_t2.csv"}
    for path in (tree / "splits").glob("*_*_*.csv"):
        with path.open(newline="") as file:
            assert csv.DictReader(file).fieldnames == [
                "", "img_name", "age", "sex", "label", "img_path", "mask_path", "seg_path",
            ]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("fold", range(5))
def test_every_split_of_every_record_loads_in_both_modalities(tree: Path, name: str, fold: int) -> None:
    record = load_record(name)
    for modality in record.modalities:
        for split in record.splits:
            items = load_datalist(tree, name, split, modality=modality, fold=fold)
            assert items
            assert all(f"/{modality}/" in item["image"] for item in items)
            assert all(("label" in item) == (record.role == "lesion") for item in items)
        assert not find_leaks(load_splits(tree, name, modality=modality, fold=fold))


def test_one_subject_has_no_t2_and_the_folds_validate_on_others(tree: Path) -> None:
    counts = {m: sum(len(load_datalist(tree, "IXI", s, modality=m)) for s in ("train", "val", "test")) for m in ("t1", "t2")}
    assert counts == {"t1": 7, "t2": 6}
    validated = [frozenset(item["case"] for item in load_datalist(tree, "IXI", "val", fold=fold)) for fold in range(5)]
    assert len(set(validated)) == 5


@pytest.mark.parametrize("name", PUBLISHED[1:])
def test_lesions_lie_in_the_brain(tree: Path, name: str) -> None:
    for item in load_datalist(tree, name, "test"):
        label, mask = (np.asarray(nib.load(item[key]).dataobj) for key in ("label", "brain_mask"))
        assert label.any()
        assert not label[mask == 0].any()
