"""Weights and thresholds in bundle/models belong together, and to the settings of inference.yaml."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.evaluation import OperatingPoints

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
@pytest.mark.parametrize(("preset", "overlays"), [("default", ()), ("paper", ("preset_paper.yaml",))])
def test_thresholds_were_calibrated_with_these_weights_and_settings(
    root: Path, models: Path, modality: str, preset: str, overlays: tuple[str, ...]
) -> None:
    entry = json.loads((models / "thresholds.json").read_text())[modality][preset]
    assert entry["weights"] == _sha256(models / WEIGHTS[modality])
    others = {f"population_{other}" for other in WEIGHTS if other != modality}
    now = {key: value for key, value in _settings(root, *overlays).items() if key not in others}
    assert entry["settings"] == now
    assert (preset == "default") == (f"population_{modality}" in now), "the checksum of the statistics in use"
    points = OperatingPoints(models / "thresholds.json", preset=preset, settings=entry["settings"])
    assert points.values[modality] > 0
    assert bool(points.healthy_scores(modality, weights_sha256=entry["weights"])) == (preset == "default")


@pytest.mark.parametrize("modality", WEIGHTS)
def test_every_operating_point_of_the_default_is_there(models: Path, modality: str) -> None:
    points = json.loads((models / "thresholds.json").read_text())[modality]["default"]["points"]
    assert set(points) == {"best_dice", "healthy_fpr_0.01", "healthy_fpr_0.05", "healthy_fpr_0.1", "healthy_ml"}
    rates = [points[f"healthy_fpr_{rate}"]["threshold"] for rate in ("0.01", "0.05", "0.1")]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("modality", WEIGHTS)
def test_the_default_bounds_what_is_marked_in_healthy_subjects(models: Path, modality: str) -> None:
    entry = json.loads((models / "thresholds.json").read_text())[modality]["default"]
    assert entry["default"] == "healthy_ml"
    assert sum(map(len, entry["healthy_groups"].values())) == len(entry["healthy_scores"])


@pytest.mark.parametrize("modality", WEIGHTS)
def test_the_statistics_of_healthy_subjects_belong_to_these_weights(models: Path, modality: str) -> None:
    content = torch.load(models / f"population_{modality}.pt", weights_only=True)
    assert _sha256(models / WEIGHTS[modality]) in str(content)
    assert (models / f"population_{modality}.pt").stat().st_size < 25 * 2**20


@pytest.mark.parametrize("modality", WEIGHTS)
def test_the_public_domain_weights_have_their_own_settings(root: Path, models: Path, modality: str) -> None:
    folder = models / "public_domain"
    entry = json.loads((folder / "thresholds.json").read_text())[modality]["default"]
    assert entry["weights"] == _sha256(folder / WEIGHTS[modality])
    points = OperatingPoints(folder / "thresholds.json", settings=_settings(root, "public_domain.yaml"))
    assert points.changed(modality) == []


def test_git_holds_no_image_volume(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    volumes = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".dcm", ".npy", ".npz", ".h5")
    assert [name for name in listed.stdout.splitlines() if name.lower().endswith(volumes)] == []


def test_no_file_is_over_8_mib(models: Path) -> None:
    assert {path.name for path in models.iterdir() if path.stat().st_size > 8 * 2**20} == set()
