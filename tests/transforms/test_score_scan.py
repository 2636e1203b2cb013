"""The score of a scan as a transform."""

from __future__ import annotations

import pytest
import torch

from scripts.transforms import ScoreScand


def _data() -> dict:
    maps = torch.zeros(2, 10, 10, 10)
    maps[1, 2, 2, 2], maps[1, 0, 0, 0] = 0.5, 9.0
    image = torch.zeros(1, 10, 10, 10)
    image[0, 1:6, 1:6, 1:6] = 1
    mask = image.clone()
    mask[0, 1] = 0
    return {"pred": maps, "image": image, "brain_mask": mask}


def test_score_stands_beside_the_maps_which_stay_as_they_are() -> None:
    data = _data()
    found = ScoreScand("pred", outputs=["reconstruction", "anomaly_map"])(data)
    assert found["anomaly_score"] == pytest.approx(0.5), "1 % of 100 voxels is one"
    assert found["pred"] is data["pred"]
    assert "anomaly_score" not in data


def test_without_a_mask_the_image_says_where_the_brain_is() -> None:
    data = _data()
    data["pred"][1, 1, 1, 1] = 2.0  # in the image, not in the mask
    transform = ScoreScand("pred", outputs=["reconstruction", "anomaly_map"])
    assert transform(data)["anomaly_score"] == pytest.approx(0.5)
    del data["brain_mask"]
    assert transform(data)["anomaly_score"] == pytest.approx(2.0)


def test_without_an_anomaly_map_there_is_no_score() -> None:
    assert "anomaly_score" not in ScoreScand("pred", outputs=["reconstruction", "mean"])(_data())
