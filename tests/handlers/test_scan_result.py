"""The files of a scan."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import IterationEvents

from scripts.evaluation import OperatingPoints, write_operating_points
from scripts.handlers.scan_result import ScanResult
from scripts.networks import ModalityWeights
from scripts.scans.volume import SAVED_IMAGES, add_note, inferer_outputs

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def weights(tmp_path: Path) -> ModalityWeights:
    network = torch.nn.Conv2d(1, 1, 1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return ModalityWeights(network, tmp_path)


def _item() -> dict:
    scores = torch.zeros(1, 10, 10, 10)
    scores[0, 5, 5, 5], scores[0, 0, 0, 0] = 0.9, 7.0  # the latter is outside the brain
    brain = torch.zeros(1, 10, 10, 10)
    brain[0, 1:9, 1:9, 1:9] = 1
    on_grid = {"affine": torch.as_tensor(AFFINE)}
    item = {
        "case": "a",
        "anomaly_score": 0.18,
        "modality": "t1",
        "folder": "a",
        "stem": "a",
        "image": MetaTensor(brain, **on_grid),
        "brain_mask": MetaTensor(brain, **on_grid),
        "anomaly_map": MetaTensor(scores, **on_grid),
        "lesion_mask": MetaTensor(((scores >= 0.5) & (brain > 0)).float(), **on_grid),
        "reconstruction": MetaTensor(brain, **on_grid),
    }
    add_note(item, "alignment", world_to_template=np.diag([1.0, 1.0, 1.0, 1.0]).tolist(), method="header")
    add_note(item, "seconds", loading=1.5)
    return item


def _run(handler: ScanResult) -> None:
    engine = Engine(lambda engine, batch: [_item()])
    engine.register_events(*IterationEvents)
    handler.attach(engine)
    engine.run([0])


def test_result_holds_the_score_of_the_scan_and_nothing_outside_the_brain(tmp_path: Path, weights: ModalityWeights) -> None:
    points = OperatingPoints("none", threshold=0.5)
    _run(ScanResult(str(tmp_path / "out"), operating_points=points, weights=weights, parameters={"seed": 3}, report=False))
    result = json.loads((tmp_path / "out" / "a" / "result.json").read_text())
    assert (result["anomaly_score"], result["p_value"], result["num_healthy_scans"]) == (0.18, None, 0)
    assert result["num_regions"] == 1
    (region,) = result["regions"]
    assert region["peak_mni_mm"] == region["peak_mm"] == region["centroid_mm"] == [10.0, 10.0, 15.0]
    assert region["evidence"] == pytest.approx(0.012 * (0.9 - 0.5))
    assert (region["side"], region["lobe"]) == ("right", "deep grey matter")
    assert result["region_volume_ml"] == pytest.approx(0.012)
    assert result["brain_volume_ml"] == pytest.approx(512 * 0.012)
    assert result["parameters"] == {"seed": 3}
    assert (result["threshold"], result["threshold_source"]) == (0.5, "given by the user")
    assert result["seconds"]["loading"] == 1.5
    assert result["weights"] == weights.use("t1")
    assert result["preprocessing"] == {"alignment": {"method": "header", "world_to_template": np.eye(4).tolist()}}
    assert (tmp_path / "out" / "a" / "panel.png").stat().st_size > 10_000


def test_p_value_is_taken_against_the_healthy_scans_of_the_same_weights(tmp_path: Path, weights: ModalityWeights) -> None:
    point = {"points": {"best": {"threshold": 0.5, "source": "here"}}, "default": "best"}
    point["points"]["best"]["false_positive_ml"] = {"median": 1.5, "p95": 4.0, "n": 9}
    entry = {**point, "healthy_scores": [0.1, 0.2, 0.3], "weights": weights.use("t1")["sha256"]}
    for folder, used in (("same", entry), ("other", {**entry, "weights": "of another network"})):
        file = tmp_path / f"{folder}.json"
        write_operating_points(file, used, modality="t1", preset="default")
        options = {"operating_points": OperatingPoints(file), "weights": weights, "picture": False, "report": False}
        _run(ScanResult(str(tmp_path / folder), **options))
    found = [json.loads((tmp_path / name / "a" / "result.json").read_text()) for name in ("same", "other")]
    assert [result["p_value"] for result in found] == [0.75, None]
    assert [result["num_healthy_scans"] for result in found] == [3, 0]
    assert [(result["healthy_rank"], result["lowest_p_value"]) for result in found] == [(3, 0.25), (None, None)]
    assert [bool(result["healthy_false_positive_ml"]) for result in found] == [True, False]


def test_images_are_written_as_asked_on_the_grid_of_the_scan(tmp_path: Path, weights: ModalityWeights) -> None:
    points = OperatingPoints("none", threshold=0.5)
    save = ("lesion_mask", "brain_mask", "anomaly_map")
    _run(ScanResult(str(tmp_path), operating_points=points, weights=weights, save=save, picture=False, report=False))
    written = {path.name for path in (tmp_path / "a").iterdir()}
    assert written == {"a_lesion_mask.nii.gz", "a_brain_mask.nii.gz", "a_anomaly_map.nii.gz", "result.json"}
    for name, dtype in (("lesion_mask", np.uint8), ("brain_mask", np.uint8), ("anomaly_map", np.float32)):
        image = nib.load(tmp_path / "a" / f"a_{name}.nii.gz")
        assert image.get_data_dtype() == dtype
        assert image.shape == (10, 10, 10)
        np.testing.assert_array_equal(image.affine, AFFINE)


def test_the_inferer_gives_what_is_saved_and_what_the_pages_show() -> None:
    assert inferer_outputs(["lesion_mask"]) == ["anomaly_map", "reconstruction"]
    assert inferer_outputs("uncertainty") == ["anomaly_map", "reconstruction", "uncertainty"]
    with pytest.raises(ValueError, match=r"`save` must be some of \['anomaly_map', .*\], got \['map'\]"):
        inferer_outputs(["map", *SAVED_IMAGES])
