"""Evaluation through the bundle, on phantoms and on the real scans."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import monai.bundle
import pytest

from scripts.errors import reason
from scripts.scans import ScanReader

from .conftest import TINY_NETWORK

CONFIGS = ("inference", "evaluate")
FAST = {**TINY_NETWORK, "num_samples": 2, "erosion": 0, "median_size": 0, "progress": False, "num_bootstrap": 100}


def _evaluate(root: Path, weights: Path, folder: Path, **options: object) -> None:
    configs = [str(root / "bundle" / "configs" / f"{name}.yaml") for name in CONFIGS]
    monai.bundle.run(
        config_file=configs, checkpoint=str(weights / "model.pt"), output_dir=str(folder), **{**FAST, **options}
    )


def test_phantom_lesions_are_scored_map_by_map(
    root: Path, tree: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path
) -> None:
    _evaluate(root, trained[0], tmp_path, dataset_dir=str(tree), datasets=["Brats21"], split="test")
    rows = list(csv.DictReader((tmp_path / "cases.csv").open()))
    maps = {row["map"] for row in rows}
    assert {"anomaly_map", "intensity", "single", "mean", "anomaly_map_whitened"} <= maps
    assert len(rows) == len(maps) * len({row["case"] for row in rows})
    assert all(0 < float(row["auprc"]) <= 1 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["n_cases"] == 2
    assert len(list((tmp_path / "panels").glob("*.png"))) == 2


def test_thresholds_of_a_validation_run_are_used_on_test(
    root: Path, tree: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path
) -> None:
    options = {"dataset_dir": str(tree), "datasets": ["Brats21"], "panels": 0, "outputs": ["anomaly_map", "reconstruction"]}
    _evaluate(root, trained[0], tmp_path / "val", split="val", **options)
    thresholds = tmp_path / "val" / "thresholds.json"
    _evaluate(root, trained[0], tmp_path / "test", split="test", thresholds=str(thresholds), **options)
    row = next(csv.DictReader((tmp_path / "test" / "cases.csv").open()))
    assert 0 <= float(row["dice_at_validation_best_dice"]) <= float(row["oracle_dice"]) + 1e-6


def test_full_resolution_scores_on_the_grid_of_the_scan(
    root: Path, data_dir: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path
) -> None:
    options = {"dataset_dir": str(data_dir), "datasets": ["MSLUB"], "panels": 0, "outputs": ["anomaly_map"]}
    _evaluate(root, trained[0], tmp_path, split="test", full_resolution=True, grid_size=[96, 96, 80], **options)
    row = next(csv.DictReader((tmp_path / "cases.csv").open()))
    assert float(row["lesion_ml"]) == pytest.approx(8.227, abs=0.05), "the label's own volume at 1 mm"


def test_a_split_that_does_not_exist_is_an_error(root: Path, tree: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path) -> None:
    options = {"dataset_dir": str(tree), "datasets": ["Brats21"]}
    for split, message in (("train", "none of Brats21 has the split train. Give one of theirs: test, val"), ("x", "`splits` must be out of train, val, test, got 'x'")):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            _evaluate(root, trained[0], tmp_path, split=split, **options)
        assert message in str(reason(caught.value))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bootstrap": -1}, "`num_bootstrap` must be a whole number from 0 on, got -1"),
        ({"num_bootstrap": 2.5}, "`num_bootstrap` must be a whole number from 0 on, got 2.5"),
        ({"output_dir": "{taken}"}, "taken: a file is where the folder for results should be"),
    ],
)
def test_what_cannot_be_used_is_reported_before_any_scan_is_read(
    root: Path, tree: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: dict, message: str,
) -> None:  # fmt: skip
    (tmp_path / "taken").write_text("x")
    monkeypatch.setattr(ScanReader, "get_data", lambda *_: pytest.fail("a scan was read"))
    options = {key: value.format(taken=tmp_path / "taken") if isinstance(value, str) else value for key, value in options.items()}
    everything = {"output_dir": str(tmp_path / "out"), "dataset_dir": str(tree), "datasets": ["Brats21"], "split": "test", **options}
    folder = Path(everything.pop("output_dir"))
    with pytest.raises((RuntimeError, ValueError)) as caught:
        _evaluate(root, trained[0], folder, **everything)
    assert message in str(reason(caught.value))
