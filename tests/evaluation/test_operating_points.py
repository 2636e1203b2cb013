"""Thresholds by modality."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.errors import InputError
from scripts.evaluation import OperatingPoints, write_operating_points
from scripts.evaluation.operating_points import read_thresholds, write_thresholds

DEFAULT = {
    "default": "best_dice",
    "points": {
        "best_dice": {"threshold": 0.1, "source": "validation"},
        "healthy_fpr_0.01": {"threshold": 0.2, "source": "healthy"},
    },
    "healthy_scores": [0.1, 0.3],
    "settings": {"num_samples": 10, "ssim_sigma": [1.0, 2.0]},
    "weights": "abc",
}
PAPER = {"default": "best_dice", "points": {"best_dice": {"threshold": 0.3, "source": "paper"}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "thresholds.json"
    write_operating_points(path, DEFAULT, modality="t1", preset="default")
    write_operating_points(path, PAPER, modality="t1", preset="paper")
    return path


def test_each_modality_and_preset_has_its_own(file: Path) -> None:
    points = OperatingPoints(file)
    assert points.values == {"t1": 0.1}
    assert points.source("t1") == "validation"
    assert OperatingPoints(file, preset="paper").values == {"t1": 0.3}
    assert OperatingPoints(file, point="healthy_fpr_0.01").values == {"t1": 0.2}
    with pytest.raises(InputError, match=r"thresholds\.json: there is no threshold for t2 with the preset 'default'"):
        points.source("t2")


def test_an_unknown_point_is_named_with_those_there_are(file: Path) -> None:
    with pytest.raises(InputError, match=r"`operating_point` must be one of \['best_dice', 'healthy_fpr_0.01'\], got 'best'"):
        OperatingPoints(file, point="best")


def test_other_settings_or_weights_than_the_calibrated_ones_are_reported(file: Path) -> None:
    same = OperatingPoints(file, settings={"num_samples": 10, "ssim_sigma": (1.0, 2.0), "seed": 4})
    assert same.changed("t1") == []
    assert same.healthy_scores("t1", weights_sha256="abc") == [0.1, 0.3]
    assert same.healthy_scores("t1", weights_sha256="other") == []
    other = OperatingPoints(file, settings={"num_samples": 5})
    assert other.source("t1") == "validation; calibrated for other settings: num_samples 10, now 5"
    assert other.healthy_scores("t1") == []
    assert same.source("t1", weights_sha256="other") == "validation; calibrated for other weights"
    assert same.healthy_scores("t2") == []


def test_a_given_threshold_counts_for_all_and_needs_no_file(tmp_path: Path, file: Path) -> None:
    points = OperatingPoints(tmp_path / "none.json", threshold=0.5)
    assert points.values == {"t1": 0.5, "t2": 0.5}
    assert points.source("t2") == "given by the user"
    assert points.healthy_scores("t1") == []
    assert OperatingPoints(file, threshold=0.5).healthy_scores("t1") == [0.1, 0.3], "the score does not depend on it"


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), "high", True])
def test_a_threshold_is_a_number_from_zero_on(file: Path, threshold: object) -> None:
    with pytest.raises(InputError, match=r"`threshold` must be a number at or above 0, got "):
        OperatingPoints(file, threshold=threshold)


@pytest.mark.parametrize("text", ["", "[1]", '{"t1": 3}', '{"t1": {"default": {"points": {"a": {}}}}}', '{"t1": {"default": {}}}'])
def test_a_damaged_file_is_named(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=r"thresholds\.json: the thresholds cannot be read \("):
        OperatingPoints(file)


def test_a_default_that_is_no_point_is_refused(file: Path) -> None:
    write_operating_points(file, {**PAPER, "default": "other"}, modality="t1", preset="default")
    with pytest.raises(InputError, match="the default is none of the points"):
        OperatingPoints(file)


def test_writing_an_entry_leaves_the_others_and_no_temporary_file(file: Path) -> None:
    write_operating_points(file, PAPER, modality="t2", preset="default")
    content = json.loads(file.read_text())
    assert content == {"t1": {"default": DEFAULT, "paper": PAPER}, "t2": {"default": PAPER}}
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_file_that_cannot_be_read_is_not_written_over(file: Path) -> None:
    file.write_text("half")
    with pytest.raises(InputError, match=r"thresholds\.json: the thresholds cannot be read"):
        write_operating_points(file, PAPER, modality="t1", preset="default")
    assert file.read_text() == "half"




def test_one_form_of_file_serves_calibrations_and_evaluations(tmp_path):
    path = tmp_path / "thresholds.json"
    points = {"best_dice": {"threshold": 2.5, "source": "x"}, "healthy_ml": {"threshold": 4, "source": "y"}}
    write_operating_points(path, {"default": "best_dice", "points": points}, modality="t1", preset="paper")
    assert read_thresholds(path, modality="t1", preset="paper") == {"anomaly_map": {"best_dice": 2.5, "healthy_ml": 4.0}}
    for missing in ({"modality": "t2"}, {"modality": "t1"}):
        with pytest.raises(InputError, match=r"thresholds\.json: there is no threshold for t[12] with the preset"):
            read_thresholds(path, **missing)
    found = {"anomaly_map": {"best_dice": 0.5, "best_dice@WMH": 0.25}, "mean_l1": {}}
    write_thresholds(path, found, source="an evaluation of 2 cases")
    assert read_thresholds(path, modality="t1") == found
    assert json.loads(path.read_text())["anomaly_map"]["default"]["default"] == "best_dice"
