from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from scripts.data.datalists import load_datalist, load_splits
from scripts.data.phantom import write_phantom_tree
from scripts.data.splits import drop_leaks
from scripts.errors import InputError
from tests.leaks import find_leaks


def items(*names: str) -> list[dict[str, Any]]:
    return [{"image": f"/{name}.nii.gz", "case": name, "subject": f"A/{name}"} for name in names]


def subjects(datalist: list[dict[str, Any]]) -> list[str]:
    return [item["case"] for item in datalist]


def leaky_tree(root: Path) -> Path:
    """Write IXI with training rows in its validation split and validation rows in its test split."""
    write_phantom_tree(root, datasets="IXI", shape=(8, 8, 8), num_folds=1)
    texts = {split: (root / "splits" / name).read_text() for split, name in FILES.items()}
    for split, other in (("train", "val"), ("val", "test")):
        stolen = texts[other].splitlines()[1]
        (root / "splits" / FILES[split]).write_text(f"{texts[split]}{stolen}\n")
    return root


FILES = {"train": "IXI_train_fold0.csv", "val": "IXI_val_fold0.csv", "test": "IXI_test.csv"}


def test_earlier_split_loses_to_later_ones(caplog: pytest.LogCaptureFixture) -> None:
    lists = items("a", "b", "c", "d"), items("b", "e", "f"), items("c", "f")
    with caplog.at_level(logging.WARNING):
        train, val, test = drop_leaks(*lists)
    assert (subjects(train), subjects(val), subjects(test)) == (["a", "d"], ["b", "e"], ["c", "f"])
    assert "dropped 2 subject(s) from training that are in a later split too: A/b, A/c" in caplog.text
    assert "dropped 1 subject(s) from validation that are in a later split too: A/f" in caplog.text
    assert not find_leaks({"train": train, "val": val, "test": test})
    assert [len(before) for before in lists] == [4, 3, 2]


def test_nothing_is_dropped_or_said_without_leaks(caplog: pytest.LogCaptureFixture) -> None:
    assert drop_leaks(items("a"), items("b")) == (items("a"), items("b"), [])
    assert not caplog.records


def test_splits_are_loaded_without_shared_subjects_by_default(tmp_path: Path) -> None:
    root = leaky_tree(tmp_path / "tree")
    kept = load_splits(root, "IXI")
    assert {split: subjects(datalist) for split, datalist in kept.items()} == {
        "train": ["IXI-003", "IXI-004", "IXI-005"],
        "val": ["IXI-001", "IXI-002"],
        "test": ["IXI-006", "IXI-007"],
    }
    leaky = load_splits(root, "IXI", keep_published_splits=True)
    assert find_leaks(leaky).shared == {("train", "val"): ("IXI/IXI-001",), ("val", "test"): ("IXI/IXI-006",)}
    assert list(load_splits(root, "IXI", splits=["val"])) == ["val"]


def test_split_that_loses_all_its_cases_is_an_error(tmp_path: Path) -> None:
    root = leaky_tree(tmp_path / "tree")
    text = (root / "splits" / FILES["test"]).read_text()
    (root / "splits" / FILES["train"]).write_text(text)
    with pytest.raises(InputError, match=r"no case of train is left: .*Correct the split CSVs"):
        load_splits(root, "IXI")


def test_set_without_a_split_adds_nothing_to_it(tmp_path: Path) -> None:
    root = write_phantom_tree(tmp_path / "tree", datasets=["ds002748", "ds000011"], shape=(8, 8, 8), num_folds=1)
    lists = load_splits(root, ["ds002748", "ds000011"])
    assert {item["dataset"] for item in lists["train"]} == {"ds002748", "ds000011"}
    assert {item["dataset"] for item in lists["test"]} == {"ds002748"}
    assert load_splits(root, "ds000011")["test"] == []
    with pytest.raises(InputError, match="`splits` must be out of train, val, test, got 'tests'"):
        load_splits(root, "ds002748", splits=["tests"])


def test_real_splits_have_no_leaks(data_dir: Path) -> None:
    for fold in range(5):
        assert not find_leaks(load_splits(data_dir, "ds002748", fold=fold, keep_published_splits=True))
    assert not find_leaks(load_splits(data_dir, "ds000011", keep_published_splits=True))


def test_real_synthetic_cases_are_unseen_by_fold_0_only(data_dir: Path) -> None:
    stroke = load_datalist(data_dir, "SyntheticStroke", "val")
    for fold in range(5):
        train = load_datalist(data_dir, "ds002748", "train", fold=fold)
        shared = find_leaks({"train": train, "stroke": stroke}).shared
        assert bool(shared) == (fold != 0)
    test = load_datalist(data_dir, "SyntheticStroke", "test")
    assert not find_leaks({"train": train, "stroke": test})
