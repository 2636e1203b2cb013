"""Weights, healthy errors and thresholds in bundle/models belong together, and to the settings of inference.yaml."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from scripts.data import OperatingPoints
from scripts.inferers.healthy_errors import healthy_error_path, read_healthy_error

WEIGHTS = {"t1": "model.pt", "t2": "model_t2.pt"}


@pytest.fixture
def models(root: Path) -> Path:
    return root / "bundle" / "models"


def _settings(root: Path, *overlays: str) -> dict:
    parser = ConfigParser()
    configs = root / "bundle" / "configs"
    parser.read_config([str(configs / name) for name in ("inference.yaml", *overlays)])
    return json.loads(json.dumps(parser.get_parsed_content("settings")))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("modality", WEIGHTS)
@pytest.mark.parametrize(("preset", "overlays"), [("default", ()), ("paper", ("ablations/preset_paper.yaml",))])
def test_thresholds_were_calibrated_with_these_weights_and_settings(
    root: Path, models: Path, modality: str, preset: str, overlays: tuple[str, ...]
) -> None:
    entry = json.loads((models / "thresholds.json").read_text())[modality][preset]
    assert entry["weights"] == _sha256(models / WEIGHTS[modality])
    assert entry["settings"] == _settings(root, *overlays)
    points = OperatingPoints(models / "thresholds.json", preset=preset, settings=entry["settings"])
    assert points.values[modality] > 0
    assert bool(points.healthy_scores(modality, weights_sha256=entry["weights"])) == (preset == "default")


@pytest.mark.parametrize("modality", WEIGHTS)
def test_every_operating_point_of_the_default_is_there(models: Path, modality: str) -> None:
    points = json.loads((models / "thresholds.json").read_text())[modality]["default"]["points"]
    assert set(points) == {"best_dice", "healthy_fpr_0.01", "healthy_fpr_0.05", "healthy_fpr_0.1"}
    rates = [points[f"healthy_fpr_{rate}"]["threshold"] for rate in ("0.01", "0.05", "0.1")]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("modality", WEIGHTS)
def test_healthy_errors_were_measured_with_these_weights(models: Path, modality: str) -> None:
    volumes, weights = read_healthy_error(healthy_error_path(models, modality))
    assert weights == _sha256(models / WEIGHTS[modality])
    assert tuple(volumes.shape) == (3, 96, 96, 80)
    assert 0.01 < float(volumes[1][volumes[2] > 0.5].median()) < 0.2, "of an intensity range of 1"


def test_no_file_is_over_8_mib(models: Path) -> None:
    assert {path.name for path in models.iterdir() if path.stat().st_size > 8 * 2**20} == set()
