"""Population statistics through the bundle, and inference with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np

from scripts.inferers.population_files import read_population

from .conftest import FAST, run_command

CONFIGS = "['bundle/configs/inference.yaml','bundle/configs/population.yaml']"


def test_inference_uses_the_population_of_its_own_weights(root: Path, tree: Path, models: Path, tmp_path: Path) -> None:
    options = {**FAST, "model_dir": models, "datasets": "['IXI']", "limit": 3, "fitted_components": 1}
    done = run_command(root, config_file=CONFIGS, dataset_dir=tree, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "population of 3 subjects" in done.stderr + done.stdout
    content = read_population(models / "population_t1.pt")
    assert content.statistics.components.shape == (1, 16, 32, 32)
    assert 0 < content.statistics.std.max() < 1
    assert content.about["weights_sha256"] == hashlib.sha256((models / "model.pt").read_bytes()).hexdigest()
    assert content.about["num_subjects"] == 3
    assert content.about["datasets"][0]["licence"] == "CC BY-SA 3.0"
    assert content.about["settings"]["smoothing_sigma"] == 2.0

    scan = next((tree / "Test" / "Brats21" / "t1").glob("*.nii.gz"))
    shared = {**FAST, "model_dir": str(models), "input": str(scan), "threshold": 1, "report": False, "picture": False}
    config = str(root / "bundle/configs/inference.yaml")
    maps = []
    for name, chosen in {
        "population": {"population": True, "population_components": 1, "cloud_covariance": 0.5},
        "none": {"population": False},
    }.items():
        monai.bundle.run(config_file=config, output_dir=str(tmp_path / name), **shared, **chosen)
        maps.append(nib.load(next((tmp_path / name).rglob("*anomaly_map.nii.gz"))).get_fdata())
    assert np.abs(maps[0] - maps[1]).max() > 0.1 * maps[1].max()


def test_too_few_subjects_are_refused_before_any_work(root: Path, tree: Path, models: Path) -> None:
    options = {**FAST, "model_dir": models, "datasets": "['IXI']", "limit": 3, "fitted_components": 2}
    done = run_command(root, config_file=CONFIGS, dataset_dir=tree, **options)
    assert done.returncode != 0
    assert "`num_components` must be from 0 to 1 for 3 subjects, got 2" in done.stderr
    assert "33%" not in done.stderr
    assert not (models / "population_t1.pt").exists()
