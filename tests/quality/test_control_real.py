"""Quality control on real scans: none is refused, and the wrong modality is."""

from __future__ import annotations

import pytest

from scripts.quality.control import QualityControld, ScanRefused
from scripts.scans.volume import read_notes

CASES = [
    ("Train/ds002748", "sub-45", "t1"),  # the worst aligned of its set
    ("Train/ds000011", "sub-04", "t2"),  # the T2 least like the template
    ("Test/SyntheticStroke", "stroke24", "t1"),
    ("Test/MSLUB", "patient26", "t1"),  # registered to MNI152 without a change of size
    ("Test/MSLUB", "patient26", "t2"),
]
RANGES = {"t1": (-0.7, -0.2), "t2": (0.15, 0.5)}  # bundle/docs/quality_control.md has those of all scans


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case).replace("/", "-"))
def case(request, data_dir, load):
    folder, name, modality = request.param
    root = data_dir / folder
    volumes = load(image=root / f"{modality}/{name}_{modality}.nii.gz", brain_mask=root / f"mask/{name}_mask.nii.gz")
    return {**volumes, "modality": modality}


def test_real_scans_pass_and_their_contrast_is_far_from_the_bound(case):
    quality = read_notes(QualityControld("image")(case))["quality"]
    assert quality["passed"]
    values = {check["name"]: check["value"] for check in quality["checks"]}
    low, high = RANGES[case["modality"]]
    assert low < values[f"{case['modality']}_fluid_contrast"] < high


def test_the_wrong_modality_is_refused(case):
    other = "t2" if case["modality"] == "t1" else "t1"
    with pytest.raises(ScanRefused, match=f"but the modality is {other}: give --modality {case['modality']}"):
        QualityControld("image")({**case, "modality": other})
