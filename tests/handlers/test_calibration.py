"""Thresholds from validation scans."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from scripts.errors import InputError
from scripts.evaluation.scores import healthy_point
from scripts.handlers.calibration import CalibrationHandler
from scripts.metrics.segmentation import without_small_peaks
from scripts.results import without_small_regions

SHAPE = (10, 10, 10)


def _item(role: str, case: int, *, dataset: str = "healthy set", lesion: bool = False, shift: float = 0.0) -> dict:
    """A brain of 8 × 8 × 8 voxels; scores of healthy tissue lie in [0, 0.5), those of lesions from 0.6 on."""
    generator = torch.Generator().manual_seed(case)
    brain = torch.zeros(1, *SHAPE)
    brain[0, 1:9, 1:9, 1:9] = 1
    scores = torch.rand(1, *SHAPE, generator=generator) * 0.5 + shift
    label = torch.zeros(1, *SHAPE)
    if lesion:
        label[0, 3:6, 3:6, 3:6] = 1
        scores = torch.where(label > 0, 0.6 + 0.1 * scores, scores)
    scores[0, 0, 0, 0] = 50.0  # outside the brain
    item = {"case": f"c{case}", "dataset": dataset, "role": role, "image": brain, "brain_mask": brain, "pred": scores}
    return {**item, "label": label} if lesion else item


def _run(tmp_path: Path, items: list[dict], **options: object) -> dict:
    chosen = {"preset": "default", "modality": "t1", "settings": {"min_max": False, "num_samples": 3}, **options}
    handler = CalibrationHandler(
        tmp_path / "thresholds.json", tmp_path / "out", ["anomaly_map"], weights={"file": "m.pt", "sha256": "abc"}, **chosen
    )
    handler_case = [{**item, "image": _with_spacing(item["image"])} for item in items]
    engine = Engine(lambda engine, batch: [batch])
    handler.attach(engine)
    engine.run(handler_case)
    return json.loads((tmp_path / "thresholds.json").read_text())["t1"][chosen["preset"]]


def _with_spacing(image: torch.Tensor) -> torch.Tensor:
    from monai.data import MetaTensor

    return MetaTensor(image, affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))


@pytest.fixture
def items() -> list[dict]:
    healthy = [_item("healthy", n) for n in range(4)]
    lesion = [_item("lesion", n, dataset="lesion set", lesion=True) for n in (10, 11)]
    held_out = [_item("held out", n, shift=0.1) for n in (20, 21, 22)]
    return [*healthy, *lesion, *held_out]


def test_points_are_the_best_dice_and_the_rates_on_healthy_brains(tmp_path: Path, items: list[dict]) -> None:
    entry = _run(tmp_path, items)
    assert entry["default"] == "healthy_ml"
    assert list(entry["points"]) == ["best_dice", *map(healthy_point, (0.01, 0.05, 0.1)), "healthy_ml"]
    assert 0.5 < entry["points"]["best_dice"]["threshold"] <= 0.61
    assert entry["points"]["best_dice"]["lesion_dice"] == 1.0
    brain = np.concatenate([i["pred"][i["brain_mask"] > 0] for i in items if i["role"] == "healthy"])
    for rate in (0.01, 0.05, 0.1):
        point = entry["points"][healthy_point(rate)]
        share = (brain >= np.float32(point["threshold"])).mean()
        assert rate - 2e-3 < share <= rate, "at most the rate, and less than two of a thousand voxels below it"
        assert point["n"] == 4
    assert (entry["settings"], entry["weights"]) == ({"min_max": False, "num_samples": 3}, "abc")


def test_held_out_scans_are_measured_and_choose_nothing(tmp_path: Path, items: list[dict]) -> None:
    entry = _run(tmp_path, items)
    point = entry["points"]["healthy_fpr_0.1"]
    held_out = [i["pred"][i["brain_mask"] > 0].numpy() for i in items if i["role"] == "held out"]
    volumes = [(scores >= np.float32(point["threshold"])).sum() * 0.008 for scores in held_out]  # 2 mm voxels
    assert point["false_positive_ml"]["mean"] == pytest.approx(np.mean(volumes), abs=0.005)
    assert point["false_positive_ml"]["max"] == pytest.approx(max(volumes), abs=0.005)
    assert point["false_positive_ml"]["n"] == 3
    without = _run(tmp_path / "b", [i for i in items if i["role"] != "held out"])
    assert [p["threshold"] for p in without["points"].values()] == [p["threshold"] for p in entry["points"].values()]
    assert "false_positive_ml" not in without["points"]["best_dice"]


def test_scores_of_healthy_scans_give_p_values_to_the_others(tmp_path: Path, items: list[dict]) -> None:
    entry = _run(tmp_path, items)
    assert len(entry["healthy_scores"]) == 4
    rows = list(csv.DictReader((tmp_path / "out" / "calibration.csv").open()))
    assert [row["p_value"] for row in rows if row["role"] == "lesion"] == ["0.2", "0.2"], "1 / (4 + 1)"
    assert {row["p_value"] for row in rows if row["role"] == "healthy"} == {""}
    text = (tmp_path / "out" / "calibration.md").read_text()
    assert "healthy_ml (default)" in text
    assert re.search(r"\| held out +\| 3 ", text)
    page = (tmp_path / "out" / "calibration.html").read_text()
    assert '<th scope="row">healthy_ml (default)</th>' in page
    assert "<h1>Calibration of T1, preset default</h1>" in page
    assert 'href="calibration.csv"' in page
    assert str(tmp_path) not in page


def test_scaled_maps_get_no_healthy_points(tmp_path: Path, items: list[dict]) -> None:
    entry = _run(tmp_path, items, settings={"min_max": True}, preset="paper")
    assert list(entry["points"]) == ["best_dice"]
    assert "healthy_scores" not in entry
    with pytest.raises(InputError, match="healthy scans need `min_max: false`, and there is no lesion scan"):
        _run(tmp_path / "b", items[:4], settings={"min_max": True})


def test_the_default_bounds_what_is_marked_in_the_healthy_scans_of_each_data_set(tmp_path: Path, items: list[dict]) -> None:
    scans = [{**item, "dataset": name} for item, name in zip(items[:4], "AABB", strict=True)]
    point = _run(tmp_path, scans, max_median_ml=1.0, max_p95_ml=2.0)["points"]["healthy_ml"]
    volumes = [
        float((scan["pred"][scan["brain_mask"] > 0] >= np.float32(point["threshold"])).sum()) * 0.008 for scan in scans
    ]
    for group in (volumes[:2], volumes[2:]):
        assert np.median(group) <= 1.0
        assert np.quantile(group, 0.95) <= 2.0
    assert max(np.median(volumes[:2]), np.median(volumes[2:])) > 0.5, "and no lower than needed"
    looser = _run(tmp_path / "b", scans, max_median_ml=2.0, max_p95_ml=4.0)["points"]["healthy_ml"]
    assert looser["threshold"] < point["threshold"]


def test_healthy_scans_are_compared_with_the_other_data_sets(tmp_path: Path, items: list[dict]) -> None:
    scans = [{**item, "dataset": name} for item, name in zip(items[:4], "AABB", strict=True)] + items[4:]
    entry = _run(tmp_path, scans)
    assert {name: len(scores) for name, scores in entry["healthy_groups"].items()} == {"A": 2, "B": 2}
    rows = list(csv.DictReader((tmp_path / "out" / "calibration.csv").open()))
    scores = {row["case"]: float(row["anomaly_score"]) for row in rows}
    for row in rows[:2]:
        expected = (1 + sum(other >= scores[row["case"]] - 1e-6 for other in entry["healthy_groups"]["B"])) / 3
        assert float(row["p_value"]) == pytest.approx(expected)
    assert {row["p_value"] for row in rows if row["role"] == "lesion"} == {str(1 / 3)}


def test_a_data_set_that_is_left_out_is_measured_at_the_threshold_of_the_others(tmp_path: Path, items: list[dict]) -> None:
    scans = [{**item, "dataset": name, "attributes": {"age": age}} for item, name, age in zip(items[:4], "AABB", (30, 70, "", 35), strict=True)]
    scans[3]["pred"] = scans[3]["pred"] * 1.5
    scans.append({**items[-1], "attributes": {"age": 61}})
    handler = CalibrationHandler(
        tmp_path / "thresholds.json", tmp_path, ["anomaly_map"], preset="default", modality="t1", settings={},
        weights={"file": "m.pt", "sha256": "abc"}, max_median_ml=1.0, max_p95_ml=2.0,
    )  # fmt: skip
    engine = Engine(lambda engine, batch: [batch])
    handler.attach(engine)
    engine.run([{**scan, "image": _with_spacing(scan["image"])} for scan in scans])
    alone = _run(tmp_path / "b", scans[:2], max_median_ml=1.0, max_p95_ml=2.0)["points"]["healthy_ml"]["threshold"]
    row = {row["dataset"]: row for row in handler.left_out()}["B"]
    assert row["threshold"] == alone
    brains = [scan["pred"][scan["brain_mask"] > 0] for scan in scans[2:4]]
    assert row["max"] == pytest.approx(max(float((b >= np.float32(alone)).sum()) * 0.008 for b in brains), abs=0.005)
    text = (tmp_path / "calibration.md").read_text()
    assert re.search(r"Each healthy data set left out.*\| B +\| 2 ", text, re.DOTALL)
    assert re.search(r"\| 0 to 39 +\| healthy +\| 2 ", text)
    assert re.search(r"\| from 60 +\| healthy +\| 1 ", text)
    assert re.search(r"\| from 60 +\| held out +\| 1 ", text)


def test_regions_below_the_smallest_volume_are_not_counted(tmp_path: Path, items: list[dict]) -> None:
    point = _run(tmp_path, items[:4], max_median_ml=1.0, max_p95_ml=2.0)["points"]["healthy_ml"]
    larger = _run(tmp_path / "b", items[:4], max_median_ml=1.0, max_p95_ml=2.0, min_volume_ml=0.05)["points"]["healthy_ml"]
    assert larger["threshold"] < point["threshold"]
    assert "regions below 0.05 ml left out" in larger["source"]
    volumes = []
    for item in items[:4]:
        mask = ((item["pred"] >= np.float32(larger["threshold"])) & (item["brain_mask"] > 0))[0].numpy()
        volumes.append(without_small_regions(mask, np.diag([2.0, 2, 2, 1]), min_volume_ml=0.05).sum() * 0.008)
    assert np.median(volumes) <= 1.0
    assert max(volumes) > 0.5


@pytest.mark.parametrize("min_volume_ml", [0.0, 0.008, 0.02, 0.1])
def test_lowered_peaks_are_small_regions_left_out_at_every_threshold(min_volume_ml: float) -> None:
    scores = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32).round(2)  # with ties
    lowered = without_small_peaks(scores, voxel_ml=0.008, min_volume_ml=min_volume_ml)
    for threshold in np.arange(0, 1.01, 0.1, dtype=np.float32):
        kept = without_small_regions(scores >= threshold, np.diag([2.0, 2, 2, 1]), min_volume_ml=min_volume_ml)
        assert np.array_equal(lowered >= threshold, kept) or threshold == 0


def test_without_lesions_the_bound_in_ml_is_the_default_and_another_can_be_asked_for(tmp_path: Path, items: list[dict]) -> None:
    assert _run(tmp_path, items[:4])["default"] == "healthy_ml"
    assert _run(tmp_path, items[:4], default="healthy_fpr_0.05")["default"] == "healthy_fpr_0.05"
    with pytest.raises(InputError, match=r"`default` must be one of \['healthy_fpr_0.01', .*\], got 'best_dice'"):
        _run(tmp_path, items[:4], default="best_dice")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_median_ml": 5.0, "max_p95_ml": 4.0}, "0 < max_median_ml <= max_p95_ml, got 5.0 and 4.0"), ({"rates": [0.0]}, r"`rates` must be in \(0, 1\), got \[0.0\]"), ({"rates": []}, "`rates` must be in")],
)
def test_wrong_options_are_named(tmp_path: Path, items: list[dict], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _run(tmp_path, items, **options)
