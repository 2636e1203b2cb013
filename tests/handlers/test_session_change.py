"""A follow-up beside its baseline: aligned, compared on its own grid, or refused with the reason."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from scripts.handlers.session_change import compare_sessions
from scripts.registration.template import load_template
from scripts.results import result_path

ITEM = {"case": "then", "folder": "then", "stem": "then", "modality": "t1"}
THRESHOLD = 2.0
TURN = Rotation.from_euler("xyz", (5, -4, 6), degrees=True).as_matrix()


def ball(affine, shape, centre_mm, radius_mm):
    """Return where the voxels of a grid lie within a ball."""
    voxels = np.indices(shape).reshape(3, -1).T
    mm = voxels @ affine[:3, :3].T + affine[:3, 3]
    return (np.linalg.norm(mm - centre_mm, axis=1) <= radius_mm).reshape(shape)


def maps(lesions):
    """Return the template as a scan whose map is 4 in balls (centre in MNI, radius, mm) and 1 elsewhere."""
    template = load_template()
    brain = template.mask > 0.5
    anomaly = np.ones(brain.shape, np.float32) * brain
    for centre, radius in lesions:
        anomaly[ball(template.affine, brain.shape, centre, radius) & brain] = 4.0
    return {"image": template.image * 900, "anomaly_map": anomaly, "brain_mask": brain.astype(np.float32)}, template.affine


@pytest.fixture
def baseline(tmp_path):
    """Write the files of a baseline whose head lay elsewhere; return the scan."""

    def write(lesions, *, image=None, motion=None):
        volumes, affine = maps(lesions)
        affine = affine if motion is None else motion @ affine
        volumes |= {} if image is None else {"image": image}
        scan = {**ITEM, "image": str(tmp_path / "then_T1w.nii.gz")}
        nib.save(nib.Nifti1Image(volumes["image"].astype(np.float32), affine), scan["image"])
        for name in ("anomaly_map", "brain_mask"):
            path = result_path(tmp_path, scan, name)
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(volumes[name], affine), path)
        result = {"status": "ok", "input": "then_T1w.nii.gz", "date": "2020-01-01", "input_sha256": {"image": "abc"}}
        result_path(tmp_path, scan, "result", suffix=".json").write_text(json.dumps(result))
        return scan

    return write


def compare(tmp_path, scan, lesions, **changes):
    volumes, affine = maps(lesions)
    volumes["lesion_mask"] = (volumes["anomaly_map"] >= THRESHOLD).astype(np.float32)
    result = {"case": "now", "threshold": THRESHOLD, "parameters": {"min_volume_ml": 0}, **changes}
    return compare_sessions(str(tmp_path), scan, result=result, volumes=volumes, affine=affine)


def test_a_head_that_moved_is_brought_back_and_each_region_is_judged(tmp_path, baseline):
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = TURN, (6, -9, 12)
    stays, grows, goes, comes = (30, -10, 30), (-30, -10, 30), (-25, -60, 20), (28, 30, 15)
    scan = baseline([(stays, 9), (grows, 7), (goes, 8)], motion=motion)
    found = compare(tmp_path, scan, [(stays, 9), (grows, 12), (comes, 10)])
    facts, shown = found.facts, found.volumes
    assert (facts["status"], facts["baseline"], facts["baseline_input_sha256"]) == ("ok", "then", "abc")
    # the motion of the head, undone: within half a degree and half a voxel at 80 mm from the middle of the brain
    error = np.asarray(facts["alignment"]["transform"]) @ motion
    corners = np.array([[80, 0, 0, 1], [0, 80, 0, 1], [0, 0, 80, 1], [-80, 0, 0, 1]])
    assert np.linalg.norm((corners @ error.T - corners)[:, :3], axis=1).max() < 1.0
    assert facts["alignment"]["turn_deg"] == pytest.approx(np.degrees(np.linalg.norm(Rotation.from_matrix(TURN).as_rotvec())), abs=0.5)
    kinds = {row["change"]: row for row in facts["regions"]}
    assert sorted(kinds) == ["grown", "new", "unchanged", "vanished"]
    for name, centre, radii in (("new", comes, (0, 10)), ("vanished", goes, (8, 0)), ("grown", grows, (7, 12)), ("unchanged", stays, (9, 9))):
        volumes = [4 / 3 * np.pi * radius**3 / 1000 for radius in radii]
        # a shell of half a voxel is what the edge of a ball of 2 mm voxels may be off by
        assert [kinds[name]["before_ml"], kinds[name]["after_ml"]] == pytest.approx(volumes, rel=0.15)
        assert np.linalg.norm(np.subtract(kinds[name]["peak_mm"], centre)) <= 14
    assert shown["difference_map"].shape == load_template().mask.shape
    voxel = np.rint(np.linalg.solve(load_template().affine, [*comes, 1]))[:3].astype(int)
    assert shown["difference_map"][tuple(voxel)] == pytest.approx(3.0, abs=0.2)
    assert shown["change_dseg"][tuple(voxel)] == 1


def test_a_baseline_that_shows_half_of_the_head_is_compared_there(tmp_path, baseline):
    volumes, affine = maps([])
    half = volumes["image"] * (np.arange(96) < 48)[:, None, None]
    scan = baseline([])
    brain = volumes["brain_mask"] * (half > 0)
    for name, volume in (("anomaly_map", brain), ("brain_mask", brain)):
        nib.save(nib.Nifti1Image(volume.astype(np.float32), affine), result_path(tmp_path, scan, name))
    nib.save(nib.Nifti1Image(half.astype(np.float32), affine), scan["image"])
    facts = compare(tmp_path, scan, [((30, -10, 30), 9), ((-30, -10, 30), 7)]).facts
    volumes = [4 / 3 * np.pi * radius**3 / 1000 for radius in (9, 7)]
    assert facts["not_compared_ml"] == pytest.approx(volumes[0], rel=0.1)  # the template's right is not shown
    (row,) = facts["regions"]
    assert (row["change"], row["after_ml"]) == ("new", pytest.approx(volumes[1], rel=0.1))
    assert facts["compared_ml"] == pytest.approx(maps([])[0]["brain_mask"].sum() * 0.008 / 2, rel=0.05)


def test_what_is_no_scan_of_the_same_head_is_refused_with_the_reason(tmp_path, baseline, caplog):
    template = load_template()
    noise = affine_transform(np.random.default_rng(0).random(template.image.shape), np.eye(4)) * template.mask
    facts = compare(tmp_path, baseline([], image=noise), [((30, -10, 30), 9)]).facts
    assert facts["status"] == "failed"
    assert "the two sessions do not fit each other" in facts["reasons"][0]
    assert "now: not compared with then" in caplog.text


def test_a_baseline_without_a_result_is_named_and_no_path_is_reported(tmp_path, baseline):
    scan = baseline([])
    path = result_path(tmp_path, scan, "result", suffix=".json")
    path.write_text(json.dumps({"status": "refused"}))
    refused = compare(tmp_path, scan, [])
    assert refused.facts["reasons"] == ["then_T1w.nii.gz: the baseline was not analysed (refused)"]
    path.unlink()
    assert compare(tmp_path, scan, []).facts["reasons"] == ["then_T1w.nii.gz: the baseline has no result"]
    assert refused.volumes == {}
