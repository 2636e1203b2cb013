"""Healthy errors through the bundle, and inference with them."""

from __future__ import annotations

from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np

from .conftest import FAST, run_command

CONFIGS = "['bundle/configs/inference.yaml','bundle/configs/healthy_error.yaml']"


def test_inference_uses_the_errors_of_its_own_weights(root: Path, tree: Path, models: Path, tmp_path: Path) -> None:
    options = {**FAST, "model_dir": models, "datasets": "['IXI']", "limit": 3}
    done = run_command(root, config_file=CONFIGS, dataset_dir=tree, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "healthy errors of 3 scans" in done.stderr + done.stdout
    file = nib.load(models / "healthy_error_t1.nii.gz")
    assert file.shape == (32, 32, 16, 3)
    assert 0 < file.get_fdata()[..., 1].max() < 1

    scan = next((tree / "Test" / "Brats21" / "t1").glob("*.nii.gz"))
    shared = {**FAST, "model_dir": str(models), "input": str(scan), "threshold": 1, "report": False, "picture": False}
    maps = []
    for healthy in (True, False):
        folder = tmp_path / str(healthy)
        config = str(root / "bundle/configs/inference.yaml")
        monai.bundle.run(config_file=config, output_dir=str(folder), healthy_error=healthy, **shared)
        maps.append(nib.load(next(folder.rglob("*anomaly_map.nii.gz"))).get_fdata())
    assert np.abs(maps[0] - maps[1]).max() > 0.1 * maps[1].max()
