"""A result is taken again only for the same input, weights, settings and version, and never mixed with another."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.files import file_sha256
from scripts.handlers import scan_result
from scripts.workflows import scan_steps

from .conftest import FAST

CONFIG = "bundle/configs/inference.yaml"


def _scan(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.asarray(phantom_volume((32, 32, 16), seed, "t1", lesion=True)[0]).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, phantom_affine((32, 32, 16), 2.0)), path)
    return path


@pytest.fixture
def infer(root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path):
    def run(scans: object, **options: object) -> Path:
        options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), "report": False, "picture": False, **options}
        monai.bundle.run(config_file=str(root / CONFIG), input=scans, output_dir=str(tmp_path / "out"), **options)
        return tmp_path / "out"

    return run


def _result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_another_scan_of_the_same_name_gets_its_own_result(infer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = (_scan(tmp_path / f"pat{n}" / "T1.nii.gz", n) for n in (1, 2))
    folder = infer(str(first)) / "T1"
    before = nib.load(folder / "T1_anomaly_map.nii.gz").get_fdata()
    assert _result(folder)["input_sha256"] == {"image": file_sha256(first)}
    infer(str(second))
    assert _result(folder)["input_sha256"] == {"image": file_sha256(second)}
    assert np.abs(nib.load(folder / "T1_anomaly_map.nii.gz").get_fdata() - before).max() > 0
    assert "T1: done again, as its result is of another input." in capfd.readouterr().err


def test_two_scans_of_one_name_get_folders_of_their_own(infer, tmp_path: Path) -> None:
    scans = [_scan(tmp_path / f"pat{n}" / "T1.nii.gz", n) for n in (1, 2)]
    out = infer([str(scan) for scan in scans])
    for number, scan in zip((1, 2), scans, strict=True):
        result = _result(out / f"pat{number}_T1")
        assert (result["case"], result["input_sha256"]["image"]) == (f"pat{number}_T1", file_sha256(scan))


@pytest.mark.parametrize(
    ("change", "reported"),
    [({"seed": 7}, "seed"), ({"grid_spacing": 2.1}, "grid_spacing"), ({"min_volume_ml": 0.2}, "min_volume_ml"), ({"threshold": 0.5}, "threshold")],
)
def test_other_settings_do_a_scan_again(infer, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: dict, reported: str) -> None:
    scan = _scan(tmp_path / "s_t1.nii.gz", 1)
    result = infer(str(scan)) / "s_t1" / "result.json"
    stamp = result.stat().st_mtime_ns
    infer(str(scan))
    assert result.stat().st_mtime_ns == stamp, "the same command does nothing"
    infer(str(scan), **change)
    assert result.stat().st_mtime_ns != stamp
    assert f"s_t1: done again, as its result is of another {reported}." in capfd.readouterr().err


def test_other_weights_masks_and_versions_do_a_scan_again(
    infer, tmp_path: Path, trained: tuple[Path, subprocess.CompletedProcess], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    scan = _scan(tmp_path / "s_t1.nii.gz", 1)
    mask = tmp_path / "m.nii.gz"
    source = nib.load(scan)
    nib.save(nib.Nifti1Image((source.get_fdata() > 0.2).astype(np.uint8), source.affine), mask)
    weights = tmp_path / "w" / "model.pt"
    weights.parent.mkdir()
    shutil.copy(trained[0] / "model.pt", weights)
    infer(str(scan), checkpoint=str(weights))
    state = torch.load(weights, weights_only=True)
    torch.save({name: value * 1.01 for name, value in state.items()}, weights)
    infer(str(scan), checkpoint=str(weights))
    assert "of another weights" in capfd.readouterr().err
    infer(str(scan), checkpoint=str(weights), brain_mask=str(mask))
    assert "of another brain mask" in capfd.readouterr().err
    for module in (scan_steps, scan_result):
        monkeypatch.setattr(module, "bundle_version" if module is scan_steps else "versions", lambda: "9.9.9")
    infer(str(scan), checkpoint=str(weights), brain_mask=str(mask))
    assert "of another version of the bundle" in capfd.readouterr().err


def test_an_end_while_files_are_written_leaves_no_result(infer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = _scan(tmp_path / "s_t1.nii.gz", 1)
    folder = infer(str(scan)) / "s_t1"
    first = nib.load(folder / "s_t1_anomaly_map.nii.gz").get_fdata()
    save = scan_result.save_volume

    def killed(path: Path, image: object, *, name: str) -> None:
        save(path, image, name=name)
        raise KeyboardInterrupt

    monkeypatch.setattr(scan_result, "save_volume", killed)
    with pytest.raises(KeyboardInterrupt):
        infer(str(scan), seed=77, overwrite=True)
    assert not (folder / "result.json").exists()
    monkeypatch.setattr(scan_result, "save_volume", save)
    infer(str(scan))
    np.testing.assert_array_equal(nib.load(folder / "s_t1_anomaly_map.nii.gz").get_fdata(), first)
    assert _result(folder)["parameters"]["seed"] == FAST.get("seed", 3141)


def test_a_failed_second_scan_does_not_keep_the_result_of_the_first(infer, tmp_path: Path) -> None:
    folder = infer(str(_scan(tmp_path / "a" / "T1.nii.gz", 1))) / "T1"
    bad = _scan(tmp_path / "b" / "T1.nii.gz", 2)
    nib.save(nib.Nifti1Image(np.ones((32, 32, 16), np.float32), nib.load(bad).affine), bad)
    with pytest.raises((RuntimeError, ValueError)):
        infer(str(bad))
    assert not list(folder.glob("*"))


def test_no_file_of_a_result_holds_the_path_of_the_input(infer, tmp_path: Path) -> None:
    scans = [_scan(tmp_path / "secret_folder" / f"s{n}_t1.nii.gz", n) for n in (1, 2)]
    out = infer([str(scan) for scan in scans], report=True)
    texts = [path for path in out.rglob("*") if path.suffix in (".json", ".html", ".csv")]
    assert len(texts) >= 6
    for path in texts:
        assert "secret_folder" not in path.read_text(), path
