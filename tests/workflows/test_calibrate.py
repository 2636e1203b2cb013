"""Calibration through the bundle, and inference with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import monai.bundle

from .conftest import FAST, run_command

CONFIGS = "['bundle/configs/inference.yaml','bundle/configs/calibrate.yaml']"


def test_inference_uses_what_calibration_wrote(root: Path, tree: Path, models: Path, tmp_path: Path) -> None:
    options = {**FAST, "model_dir": models, "min_max": False}
    sets = {"healthy": "['IXI']", "lesion": "['Brats21']", "held_out": "['IXI']", "untrained": "[]", "limit": 2}
    done = run_command(root, config_file=CONFIGS, dataset_dir=tree, output_dir=tmp_path / "out", **sets, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    entry = json.loads((models / "thresholds.json").read_text())["t1"]["default"]
    assert len(entry["healthy_scores"]) == 2
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"calibration.csv", "calibration.html", "calibration.md"}
    assert "Healthy scans by age" in (tmp_path / "out" / "calibration.md").read_text(), "ages come all the way"

    scan = next((tree / "Test" / "Brats21" / "t1").glob("*.nii.gz"))
    changed = {**options, "model_dir": str(models), "input": str(scan), "report": False, "picture": False}
    for folder, more in (("same", {}), ("other", {"operating_point": "healthy_fpr_0.05", "num_samples": 3})):
        monai.bundle.run(config_file=str(root / "bundle/configs/inference.yaml"), output_dir=str(tmp_path / folder), **{**changed, **more})
    same, other = (json.loads(next((tmp_path / name).rglob("result.json")).read_text()) for name in ("same", "other"))
    assert same["threshold"] == entry["points"]["healthy_ml"]["threshold"]
    assert same["threshold_source"] == entry["points"]["healthy_ml"]["source"]
    assert same["p_value"] in (1 / 3, 2 / 3, 1.0)
    assert other["threshold"] == entry["points"]["healthy_fpr_0.05"]["threshold"]
    assert other["threshold_source"].endswith("; calibrated for other settings: num_samples 2, now 3")
    assert other["p_value"] is None
