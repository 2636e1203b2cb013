"""The JSON file and the picture of a scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from scripts.handlers.scan_result import ScanResult, lesion_table

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def test_lesions_are_counted_by_touching_voxels_and_sorted_by_size() -> None:
    mask = np.zeros((8, 8, 8))
    mask[1:3, 1:3, 1:3] = 1
    mask[3, 3, 3] = 1  # touches the cube at a corner
    mask[6, 6, 6] = 1
    scores = np.zeros_like(mask)
    scores[1, 1, 1], scores[6, 6, 6] = 5, 2
    first, second = lesion_table(mask, scores, AFFINE)
    assert first["volume_ml"] == pytest.approx(9 * 12 / 1000)
    assert second == {"volume_ml": pytest.approx(0.012), "centroid_mm": [12.0, 12.0, 18.0], "peak": 2.0, "mean": 2.0}
    assert first["peak"] == 5.0
    assert first["mean"] == pytest.approx(5 / 9)


def test_no_lesion_gives_an_empty_table() -> None:
    assert lesion_table(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), AFFINE) == []


def test_result_holds_the_score_of_the_scan_and_nothing_outside_the_brain(tmp_path: Path) -> None:
    scores = torch.zeros(1, 10, 10, 10)
    scores[0, 5, 5, 5], scores[0, 0, 0, 0] = 0.9, 7.0  # the latter is outside the brain
    brain = torch.zeros(1, 10, 10, 10)
    brain[0, 1:9, 1:9, 1:9] = 1
    item = {
        "case": "a",
        "image": MetaTensor(brain, affine=torch.as_tensor(AFFINE)),
        "brain_mask": brain,
        "anomaly_map": scores,
        "lesion_mask": ((scores >= 0.5) & (brain > 0)).float(),
        "reconstruction": brain,
    }
    engine = Engine(lambda engine, batch: [item])
    ScanResult(str(tmp_path), threshold=0.5, parameters={"seed": 3}).attach(engine)
    engine.run([0])
    result = json.loads((tmp_path / "a" / "a_result.json").read_text())
    assert result["anomaly_score"] == pytest.approx(0.9 / 5), "mean of the highest 1 % of 512 voxels, five of them"
    assert result["num_lesions"] == 1
    assert result["lesion_volume_ml"] == pytest.approx(0.012)
    assert result["brain_volume_ml"] == pytest.approx(512 * 0.012)
    assert result["parameters"] == {"seed": 3}
    assert (tmp_path / "a" / "a_panel.png").stat().st_size > 10_000
