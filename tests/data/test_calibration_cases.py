"""The scans that a calibration needs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scripts.data import load_calibration_cases
from scripts.data.phantom import write_phantom_tree
from scripts.errors import InputError


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_tree(tmp_path_factory.mktemp("tree"), datasets=("IXI", "Brats21"), shape=(16, 16, 8))


def test_each_scan_knows_its_part(tree: Path) -> None:
    items = load_calibration_cases(tree, healthy=["IXI"], lesion=["Brats21"], held_out=["IXI"])
    parts = Counter((item["role"], item["dataset"]) for item in items)
    assert set(parts) == {("healthy", "IXI"), ("lesion", "Brats21"), ("held out", "IXI")}
    assert all("label" in item for item in items if item["role"] == "lesion")
    assert all(20 <= float(item["attributes"]["age"]) < 80 for item in items if item["dataset"] == "IXI")
    subjects = {role: {i["subject"] for i in items if i["role"] == role} for role in ("healthy", "held out")}
    assert not subjects["healthy"] & subjects["held out"]


def test_lesion_sets_may_lie_elsewhere(tree: Path, tmp_path: Path) -> None:
    other = write_phantom_tree(tmp_path / "other", datasets=("MSLUB",), shape=(16, 16, 8))
    items = load_calibration_cases(tree, healthy=["IXI"], lesion=["MSLUB"], lesion_dir=other)
    assert all(item["image"].startswith(str(other)) == (item["role"] == "lesion") for item in items)
    assert {item["dataset"] for item in items} == {"IXI", "MSLUB"}


def test_the_same_subject_on_both_sides_is_named(tree: Path) -> None:
    splits = tree / "splits"
    kept = (splits / "IXI_test.csv").read_text()
    try:
        (splits / "IXI_test.csv").write_text((splits / "IXI_val_fold0.csv").read_text())
        with pytest.raises(InputError, match="healthy scans of the same subject are in validation and test: IXI/"):
            load_calibration_cases(tree, healthy=["IXI"], held_out=["IXI"])
    finally:
        (splits / "IXI_test.csv").write_text(kept)


def test_at_least_one_set_is_needed(tree: Path) -> None:
    with pytest.raises(InputError, match="`healthy` or `lesion` must name a data set, got neither"):
        load_calibration_cases(tree, healthy=[], held_out=["IXI"])


@pytest.mark.parametrize("option", ["healthy", "held_out", "untrained"])
def test_a_set_with_lesions_is_not_counted_as_healthy(tree: Path, option: str) -> None:
    sets = {"healthy": ["IXI"], "held_out": [], "untrained": [], option: ["Brats21"]}
    with pytest.raises(InputError, match=rf"`{option}`: Brats21: not a healthy set, as its record says\. Name healthy sets"):
        load_calibration_cases(tree, **sets)


def test_a_healthy_set_is_not_taken_for_lesions(tree: Path) -> None:
    with pytest.raises(InputError, match="`lesion`: IXI: not a lesion set, as its record says"):
        load_calibration_cases(tree, healthy=[], lesion=["IXI"])
