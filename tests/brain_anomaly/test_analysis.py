"""The Python function returns the result of the scan that was asked for, not that of its baseline."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from brain_anomaly import analysis
from scripts.data import find_sessions
from scripts.errors import InputError
from scripts.results import result_path


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Two scans of one name, and an analysis that writes each one's number in place of maps."""
    for number, name in enumerate(("then", "now")):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(np.full((2, 2, 2), number, np.float32), np.eye(4)), tmp_path / name / "s_T1w.nii.gz")

    def run(scan, folder, **options):
        for item in find_sessions(scan, **options):
            number = np.asarray(nib.load(item["image"]).dataobj).flat[0]
            for image in ("anomaly_map", "lesion_mask"):
                path = result_path(folder, item, image)
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(np.full((2, 2, 2), number, np.float32), np.eye(4)), path)
            result = {"anomaly_score": float(number), "regions": [], "case": item["case"]}
            result_path(folder, item, "result", suffix=".json").write_text(json.dumps(result))

    monkeypatch.setattr(analysis, "run_analysis", run)
    return tmp_path


def test_with_a_baseline_the_followup_comes_back(scans):
    found = analysis.analyze(scans / "now" / "s_T1w.nii.gz", baseline=str(scans / "then" / "s_T1w.nii.gz"))
    assert (found.score, found.result["case"]) == (1.0, "now_s_T1w")
    assert (found.anomaly_map == 1).all()


def test_more_than_one_scan_is_refused_before_anything_runs(scans):
    with pytest.raises(InputError, match="it holds 2 scans"):
        analysis.analyze(scans, modality="t1")
