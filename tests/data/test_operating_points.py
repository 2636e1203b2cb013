"""Thresholds by modality."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.data import OperatingPoints
from scripts.errors import InputError

CONTENT = {"t1": {"default": {"threshold": 0.1, "source": "validation"}, "paper": {"threshold": 0.3, "source": "paper"}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps(CONTENT))
    return path


def test_each_modality_and_preset_has_its_own(file: Path) -> None:
    points = OperatingPoints(file)
    assert points.values == {"t1": 0.1}
    assert points.source("t1") == "validation"
    assert OperatingPoints(file, preset="paper").values == {"t1": 0.3}
    with pytest.raises(InputError, match=r"thresholds\.json: there is no threshold for t2 with the preset 'default'"):
        points.source("t2")


def test_a_given_threshold_counts_for_all_and_needs_no_file(tmp_path: Path) -> None:
    points = OperatingPoints(tmp_path / "none.json", threshold=0.5)
    assert points.values == {"t1": 0.5, "t2": 0.5}
    assert points.source("t2") == "given by the user"


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), "high", True])
def test_a_threshold_is_a_number_from_zero_on(file: Path, threshold: object) -> None:
    with pytest.raises(InputError, match=r"`threshold` must be a number at or above 0, got "):
        OperatingPoints(file, threshold=threshold)


@pytest.mark.parametrize("text", ["", "[1]", '{"t1": 3}', '{"t1": {"default": {"threshold": 1}}}', '{"t1": {"default": {}}}'])
def test_a_damaged_file_is_named(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=r"thresholds\.json: the thresholds cannot be read \("):
        OperatingPoints(file)


def test_shipped_thresholds_can_be_read(root: Path) -> None:
    points = OperatingPoints(root / "bundle" / "models" / "thresholds.json")
    assert 0 < points.values["t1"] < 1
    assert points.source("t1")
