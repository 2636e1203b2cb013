"""Shared by the tests of the pages: a phantom and a result about it."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.data.phantom import phantom_affine, phantom_volume

SHAPE = (40, 44, 36)
WICKED = "</script><img src=x onerror='alert(1)'> & \"Ångström\""


@pytest.fixture(scope="session")
def scan_volumes():
    """A head with a lesion in a slanted LAS grid of 1.5 mm: the volumes and their affine."""
    image, brain_mask, label = phantom_volume(SHAPE, seed=3, lesion=True)
    turn = np.array([[0.96, 0.28, 0, 0], [-0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    affine = turn @ phantom_affine(SHAPE, spacing=1.5) @ np.diag([-1, 1, 1, 1])
    anomaly_map = (0.02 + 0.25 * label + 0.05 * image).astype(np.float32) * brain_mask
    volumes = {
        "image": 1000 * image,
        "reconstruction": image,
        "anomaly_map": anomaly_map,
        "lesion_mask": anomaly_map >= 0.2,
        "brain_mask": brain_mask,
    }
    return volumes, affine


@pytest.fixture(scope="session")
def scan_result(scan_volumes):
    """The `result.json` of these volumes, with names that try to break the page."""
    volumes, affine = scan_volumes
    held = np.argwhere(volumes["lesion_mask"])
    centre, peak = affine @ [*held.mean(axis=0), 1], affine @ [*held[len(held) // 2], 1]
    place = {"place": "right frontal lobe, near the precentral gyrus", "lobe": "frontal lobe", "lobe_share": 0.8}
    region = {"rank": 1, "volume_ml": 2.5, "evidence": 0.22, "peak_mm": peak[:3].tolist(), "peak_mni_mm": [1.0, 2.0, 3.0]}
    region |= {"centroid_mm": centre[:3].tolist(), "side": "right", "peak": 0.31, "mean": 0.29, **place}
    checks = [
        {"name": "volume", "text": "Brain volume", "value": 1400.0, "low": 700.0, "high": 2200.0, "unit": "ml"},
        {"name": "edge", "text": "Longest voxel edge", "value": 5.0, "low": None, "high": 4.0, "unit": "mm"},
        {"name": "overlap", "text": "Overlap", "value": 0.4, "low": 0.8, "high": None, "unit": ""},
    ]
    states = [{"passed": True, "fatal": True}, {"passed": False, "fatal": False}, {"passed": False, "fatal": True}]
    alignment = {"method": "affine", "world_to_template": np.eye(4).tolist(), "overlap": 0.91}
    return {
        "case": WICKED, "status": "ok", "reasons": [], "input": "scan.nii.gz", "modality": "t1",
        "anomaly_score": 0.25, "threshold": 0.2, "threshold_source": f"validation of {WICKED}",
        "region_volume_ml": 2.5, "num_regions": 1, "regions": [region], "p_value": 0.25, "lowest_p_value": 0.25,
        "healthy_rank": 1, "num_healthy_scans": 3, "date": "2026-01-02T03:04:05+00:00", "input_sha256": {"image": "cd" * 32},
        "healthy_false_positive_ml": {"mean": 1.0, "median": 0.5, "p95": 4.0, "max": 6.0, "n": 12},
        "brain_volume_ml": 1400.0,
        "quality": {"passed": True, "forced": False, "checks": [{**c, **s} for c, s in zip(checks, states, strict=True)]},
        "preprocessing": {"brain_extraction": {"method": "given", "volume_ml": 1400.0}, "alignment": alignment},
        "parameters": {"seed": 3141, WICKED: WICKED}, "versions": {"torch": "2.13"},
        "weights": {"file": "model.pt", "sha256": "ab" * 32}, "device": "cpu",
        "seconds": {"load": 0.25, "total": 12.5}, "files": {"anomaly_map": "a b#1_anomaly_map.nii.gz"},
    }  # fmt: skip
