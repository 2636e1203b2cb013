"""Anomaly maps of scans through the bundle."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import reason

from .conftest import FAST, run_command

CONFIG = "bundle/configs/inference.yaml"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A phantom that is stored left–posterior–superior, at 1 × 1 × 2 mm."""
    image, _, _ = phantom_volume((64, 64, 16), 5, "t1", lesion=True)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    affine[:3, 3] = phantom_affine((32, 32, 16), 2.0)[:3, 3] + [62.5, 62.5, 0]
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image((np.asarray(image) * 500).astype(np.int16)[::-1, ::-1], affine), path)
    return path


def _infer(root: Path, weights: Path, scan: Path | str, folder: Path, **options: object) -> None:
    options = {**FAST, "save": ["anomaly_map", "lesion_mask", "reconstruction"], **options}
    options = {"checkpoint": str(weights / "model.pt"), **options}
    monai.bundle.run(config_file=str(root / CONFIG), input=str(scan), output_dir=str(folder), **options)


def test_every_image_lies_on_the_grid_of_the_scan(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], scan: Path, tmp_path: Path
) -> None:
    _infer(root, trained[0], scan, tmp_path / "out")
    source = nib.load(scan)
    for name in ("anomaly_map", "reconstruction", "lesion_mask"):
        image = nib.load(tmp_path / "out" / "scan" / f"scan_{name}.nii.gz")
        assert image.shape == source.shape
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
        assert np.isfinite(image.get_fdata()).all()
        assert not image.get_fdata()[source.get_fdata() == 0].any(), f"{name} is 0 outside the brain"
    assert not [p for p in (tmp_path / "out").rglob(".*")], "no temporary file is left"


def test_result_counts_what_the_mask_holds(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], scan: Path, tmp_path: Path
) -> None:
    _infer(root, trained[0], scan, tmp_path / "out", threshold=0.02)
    folder = tmp_path / "out" / "scan"
    result = json.loads((folder / "result.json").read_text())
    mask = nib.load(folder / "scan_lesion_mask.nii.gz").get_fdata() > 0
    assert result["region_volume_ml"] == pytest.approx(mask.sum() * 2 / 1000, rel=1e-6)
    assert result["num_regions"] == len(result["regions"])
    assert result["seconds"]["total"] >= result["seconds"]["reconstruction and map"] > 0
    scores = nib.load(folder / "scan_anomaly_map.nii.gz").get_fdata()
    np.testing.assert_array_equal(mask, (scores >= np.float32(0.02)) & (nib.load(scan).get_fdata() != 0))
    assert (folder / "panel.png").read_bytes()[:4] == b"\x89PNG"


def test_same_seed_same_map_and_another_seed_another(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], scan: Path, tmp_path: Path
) -> None:
    maps = []
    for index, seed in enumerate((1, 1, 2)):
        _infer(root, trained[0], scan, tmp_path / str(index), seed=seed, picture="false")
        assert not list((tmp_path / str(index)).rglob("*.png")), "the word false, as the command line gives it, is false"
        maps.append(nib.load(tmp_path / str(index) / "scan" / "scan_anomaly_map.nii.gz").get_fdata())
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 1e-4


def test_a_mask_decides_what_brain_is(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], scan: Path, tmp_path: Path
) -> None:
    source = nib.load(scan)
    brain = (source.get_fdata() > 0).astype(np.uint8)
    brain[: brain.shape[0] // 2] = 0
    mask = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(brain, source.affine), mask)
    _infer(root, trained[0], scan, tmp_path / "out", brain_mask=str(mask))
    scores = nib.load(tmp_path / "out" / "scan" / "scan_anomaly_map.nii.gz").get_fdata()
    assert not scores[: brain.shape[0] // 2].any()


def test_a_host_gets_the_map_in_memory(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], scan: Path
) -> None:
    workflow = ConfigWorkflow(str(root / CONFIG), workflow_type="inference", checkpoint=str(trained[0] / "model.pt"), **FAST)
    workflow.initialize()
    item = workflow.preprocessing({"image": str(scan)})
    maps = workflow.inferer(item["image"][None], workflow.network_def)
    assert tuple(maps.shape) == (1, 2, 32, 32, 16)
    assert workflow.check_properties() == [] or workflow.check_properties() is None


def _save(path: Path, volume: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(volume, phantom_affine((32, 32, 16), 2.0)), path)
    return path


BAD = {
    "absent": (lambda p: p / "absent.nii.gz", {}, "absent.nii.gz: the scan does not exist"),
    "four_d": (lambda p: _save(p / "s.nii.gz", np.random.rand(8, 8, 8, 3)), {}, r"s\.nii\.gz: .*one 3D volume"),
    "nan": (lambda p: _save(p / "s.nii.gz", np.full((8, 8, 8), np.nan)), {}, r"s\.nii\.gz: 512 of 512 voxels are NaN"),
    "constant": (lambda p: _save(p / "s.nii.gz", np.ones((8, 8, 8))), {}, r"s\.nii\.gz: the image is constant"),
    "not_nifti": (lambda p: _touch(p / "s.txt"), {}, r"s\.txt: the name must end in \.nii\.gz or \.nii"),
    "one_sample": (lambda p: _good(p), {"num_samples": 1}, "`num_samples` must be a whole number from 2 to 10000, got 1"),
    "late_step": (lambda p: _good(p), {"timestep": 1000}, r"`timestep` must be .*999, got 1000"),
    "score": (lambda p: _good(p), {"score": "best"}, "`score` must be one of reference, whitened, .*'best'"),
    "modality": (lambda p: _good(p), {"modality": "flair"}, "`modality` must be one of t1, t2, got 'flair'"),
    "size": (lambda p: _good(p), {"network_def#unet#num_channels": [16, 16]}, r"model\.pt: the weights do not fit .*shape"),
    "checkpoint": (lambda p: _good(p), {"checkpoint": "none.pt"}, r"none\.pt: the checkpoint does not exist"),
}


def _touch(path: Path) -> Path:
    path.write_text("no image")
    return path


def _good(folder: Path) -> Path:
    return _save(folder / "s.nii.gz", np.asarray(phantom_volume((32, 32, 16), 1, "t1")[0]))


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_input_says_what_is_wrong_and_leaves_nothing(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path, name: str
) -> None:
    make, overrides, message = BAD[name]
    source = make(tmp_path)
    with pytest.raises((RuntimeError, ValueError)) as caught:
        _infer(root, trained[0], source, tmp_path / "out", **overrides)
    assert re.search(message, str(reason(caught.value)))
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_a_failing_command_ends_with_the_reason(root: Path, tmp_path: Path) -> None:
    scan = _save(tmp_path / "s.nii.gz", np.ones((8, 8, 8)))
    done = run_command(root, config_file=CONFIG, input=scan, output_dir=tmp_path, modality="t1")
    assert done.returncode == 1
    assert re.search(r"error: .*s\.nii\.gz: the image is constant", done.stderr.strip().splitlines()[-1])
    assert "Traceback" not in done.stderr


def test_masks_that_do_not_cover_the_scan_are_named(root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path) -> None:
    far = np.diag([1.0, 1.0, 1.0, 1.0])
    far[:3, 3] = 900.0  # mm, off the scan
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.uint8), far), tmp_path / "m.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        _infer(root, trained[0], _good(tmp_path), tmp_path / "out", brain_mask=str(tmp_path / "m.nii.gz"))
    assert re.search(r"m\.nii\.gz", str(reason(caught.value)))
