"""DICOM results refer to their source slice by slice, hold the numbers that were given, and are valid DICOM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from scripts.errors import InputError
from scripts.scans.dicom import read_dicom
from scripts.scans.dicom.results import DicomSource, ResultMaker
from tests.dicom_fixtures import T2_TIMES, grid, volume, write_enhanced, write_series

pytest.importorskip("highdicom")
MAKER = ResultMaker(name="brain_mri_anomaly_segmentation", version="1.0", parameters={"num_samples": "10"})
GRID = grid((0.9, 1.1, 2.5), 20.0)
ORDER = [3, 0, 7, 1, 11, 2, 10, 4, 9, 5, 8, 6]


@pytest.fixture(params=["classic", "enhanced"])
def source(request, tmp_path):
    if request.param == "classic":
        return write_series(tmp_path / "in", volume(), GRID, **T2_TIMES)[2]
    return write_enhanced(tmp_path / "in" / "e.dcm", volume(), GRID, ORDER)


def frames_by_height(path: Path, keyword: str) -> dict[float, np.ndarray]:
    """Read the frames with pydicom alone: the place of each along its normal, and its voxels."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    assert keyword in dataset
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    places = [
        np.array(f.PlanePositionSequence[0].ImagePositionPatient, float)
        for f in dataset.PerFrameFunctionalGroupsSequence
    ]
    return {round(float(place @ np.cross(*axes)), 2): frame for place, frame in zip(places, frames, strict=True)}


def test_a_segmentation_comes_back_to_the_voxel(source, tmp_path):
    read = read_dicom(source)
    mask = np.random.default_rng(1).random(read.voxels.shape) > 0.6
    mask[:, :, 4] = False  # empty slices are left out
    path = tmp_path / "seg.dcm"
    DicomSource(source).write_segmentation(path, mask, read.affine, label="Candidate regions", maker=MAKER)
    found = frames_by_height(path, "PixelData")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ read.affine
    normal = np.cross(lps[:3, 0], lps[:3, 1]) / np.linalg.norm(np.cross(lps[:3, 0], lps[:3, 1]))
    heights = [round(float((lps[:3, 3] + k * lps[:3, 2]) @ normal), 2) for k in range(12)]
    assert sorted(found) == [height for k, height in enumerate(heights) if k != 4]
    for k, height in enumerate(heights):
        if k != 4:
            np.testing.assert_array_equal(found[height], mask[:, :, k].T)


def test_a_map_comes_back_to_the_last_bit(source, tmp_path):
    read = read_dicom(source)
    values = np.random.default_rng(2).random(read.voxels.shape, dtype=np.float32)
    path = tmp_path / "map.dcm"
    DicomSource(source).write_map(path, values, read.affine, label="Anomaly map", maker=MAKER)
    found = frames_by_height(path, "FloatPixelData")
    np.testing.assert_array_equal(np.stack([found[h].T for h in sorted(found)], axis=-1), values)


def test_results_refer_to_the_source_and_its_study(source, tmp_path):
    read, path = read_dicom(source), tmp_path / "seg.dcm"
    mask = np.ones(read.voxels.shape)
    DicomSource(source).write_segmentation(path, mask, read.affine, label="Candidate regions", maker=MAKER)
    result, original = pydicom.dcmread(path), pydicom.dcmread(source)
    assert result.StudyInstanceUID == original.StudyInstanceUID
    assert result.FrameOfReferenceUID == original.FrameOfReferenceUID
    (series,) = result.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == original.SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referred == {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file, _ in read.frames}
    assert result.SegmentSequence[0].SegmentLabel == "Candidate regions"


def test_an_empty_mask_is_written(source, tmp_path):
    read, path = read_dicom(source), tmp_path / "seg.dcm"
    DicomSource(source).write_segmentation(path, np.zeros(read.voxels.shape), read.affine, label="x", maker=MAKER)
    assert not pydicom.dcmread(path).pixel_array.any()


def test_a_mask_on_another_grid_is_refused(source, tmp_path):
    with pytest.raises(InputError, match="does not lie on the grid of the series"):
        DicomSource(source).write_map(tmp_path / "m.dcm", np.zeros((7, 6, 11)), GRID, label="x", maker=MAKER)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("kind", ["segmentation", "map"])
def test_results_are_valid_dicom(source, tmp_path, kind):
    read, path = read_dicom(source), tmp_path / "result.dcm"
    write = getattr(DicomSource(source), f"write_{kind}")
    write(path, read.voxels > 100, read.affine, label="Candidate regions"[:16], maker=MAKER)
    reported = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True).stderr
    errors = [line for line in reported.splitlines() if line.startswith("Error")]
    assert not errors, reported
