"""What an experiment finds in a data folder, what it goes without and why, and who was trained on."""

from __future__ import annotations

import csv
import shutil

import pytest

from scripts.data.experiment_sets import load_experiment
from scripts.data.phantom import write_phantom_tree

SETS = ("IXI", "Brats21", "MSLUB", "ATLAS_v2", "WMH")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return write_phantom_tree(tmp_path_factory.mktemp("published") / "tree", shape=(8, 8, 8))


@pytest.fixture
def tree(published, tmp_path):
    return shutil.copytree(published, tmp_path / "tree")


def reasons(sets):
    return {(one.dataset, one.split): one.reason for one in sets.skipped}


def test_everything_that_is_there_is_taken_in_the_order_asked_for(published):
    sets = load_experiment(published, SETS, modality="t1")
    assert sets.skipped == []
    assert [item["dataset"] for item in sets.test] == [name for name in SETS for _ in range(2)]
    assert len(sets.val) == len(sets.test) == 10
    assert sets.datasets == list(SETS)


def test_sets_that_are_absent_are_named_with_the_reason(tree, caplog):
    (tree / "splits" / "MSLUB_val.csv").unlink()
    (tree / "splits" / "WMH_val.csv").unlink()
    (tree / "splits" / "WMH_test.csv").unlink()
    shutil.rmtree(tree / "Test" / "Brats21")
    sets = load_experiment(tree, SETS, modality="t1")
    assert reasons(sets) == {
        ("MSLUB", "val"): "splits/MSLUB_val.csv is not there",
        ("WMH", "val"): "splits/WMH_val.csv is not there",
        ("WMH", "test"): "splits/WMH_test.csv is not there",
        ("Brats21", "val"): "Test/Brats21 is not there",
        ("Brats21", "test"): "Test/Brats21 is not there",
    }
    assert "skipped MSLUB (val): splits/MSLUB_val.csv is not there" in caplog.text
    assert {item["dataset"] for item in sets.test} == {"IXI", "MSLUB", "ATLAS_v2"}


def test_a_modality_that_a_set_does_not_have_is_a_reason(published):
    sets = load_experiment(published, ["IXI", "WMH"], modality="t2")
    assert reasons(sets) == {("WMH", "val"): "the set has no t2", ("WMH", "test"): "the set has no t2"}
    with pytest.raises(ValueError, match=r"no test split is there \(WMH: the set has no t2\)"):
        load_experiment(published, ["WMH"], modality="t2")


def test_files_that_a_split_names_must_be_there(tree):
    next((tree / "Test" / "MSLUB" / "seg").iterdir()).unlink()
    with pytest.raises(ValueError, match="files that it names do not exist"):
        load_experiment(tree, ["MSLUB"], modality="t1")


def test_a_fold_that_does_not_exist_is_an_error(published):
    with pytest.raises(ValueError, match=r"`fold` must be one of 0, 1, 2, 3, 4"):
        load_experiment(published, ["IXI"], modality="t1", fold=9)


def append(path, source):
    """Add the rows of one split to another."""
    with source.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    with path.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


def test_validation_subjects_that_are_tested_too_are_dropped_unless_kept(tree, caplog):
    append(tree / "splits" / "MSLUB_val.csv", tree / "splits" / "MSLUB_test.csv")
    assert len(load_experiment(tree, ["MSLUB"], modality="t1").val) == 2
    assert "dropped 2 subject(s) from validation" in caplog.text
    assert len(load_experiment(tree, ["MSLUB"], modality="t1", keep_published_splits=True).val) == 4


def test_subjects_that_the_network_was_trained_on_are_named(tree, caplog):
    append(tree / "splits" / "IXI_train_fold0.csv", tree / "splits" / "IXI_test.csv")
    sets = load_experiment(tree, ["IXI"], modality="t1", train_datasets=["IXI"])
    assert sets.trained_on == ["IXI/IXI-006", "IXI/IXI-007"]
    assert "2 subject(s) here are in the training split of fold 0: IXI/IXI-006, IXI/IXI-007" in caplog.text
    assert load_experiment(tree, ["IXI"], modality="t1", fold=1, train_datasets=["IXI"]).trained_on == []
