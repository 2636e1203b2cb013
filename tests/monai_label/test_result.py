"""The JSON that a host gets beside the mask."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.evaluation import OperatingPoints
from scripts.handlers.scan_result import ScanResult
from scripts.monai_label import HostResultd
from scripts.networks import ModalityWeights


@pytest.fixture
def item():
    """A finished scan of 1 ml of lesion, as a host's pipeline holds it."""
    brain = torch.ones(1, 20, 20, 20)
    lesion = torch.zeros_like(brain)
    lesion[0, :10, :10, :10] = 1
    grid = {"affine": torch.eye(4)}
    names = {"image": brain, "brain_mask": brain, "anomaly_map": lesion, "lesion_mask": lesion, "reconstruction": brain}
    volumes = {name: MetaTensor(volume, **grid) for name, volume in names.items()}
    return {**volumes, "modality": "t1", "anomaly_score": 0.5, "image_path": "/srv/scans/sub-01_T1w.nii.gz"}


@pytest.fixture
def step(tmp_path):
    network = torch.nn.Conv2d(1, 1, 1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    points = OperatingPoints("none", threshold=0.3)
    return HostResultd(ScanResult("out", operating_points=points, weights=ModalityWeights(network, tmp_path)))


def test_a_host_gets_the_result_without_places_on_the_server(step, item):
    reported = step(item)["result"]
    assert (reported["case"], reported["modality"], reported["threshold"]) == ("sub-01_T1w", "t1", 0.3)
    assert reported["region_volume_ml"] == pytest.approx(1.0)
    np.testing.assert_allclose(reported["regions"][0]["centroid_mm"], [4.5, 4.5, 4.5])
    assert "/srv" not in json.dumps(reported)


def test_the_volume_that_was_asked_for_comes_back(step, item):
    mask, wished = step(item), step({**item, "returns": "anomaly_map", "result_dtype": "uint8"})
    assert mask["pred"] is item["lesion_mask"]
    assert wished["pred"] is item["anomaly_map"]
    assert wished["result_dtype"] == "float32"
    assert [reported["result"]["volume"] for reported in (mask, wished)] == ["lesion_mask", "anomaly_map"]


def test_a_scan_of_our_own_commands_is_left_as_it_is(step, item):
    del item["image_path"]
    assert step(item).keys() == item.keys()
