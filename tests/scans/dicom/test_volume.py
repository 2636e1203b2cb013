"""A DICOM series is read to the voxel, at the place that its header gives, or refused with the reason."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from monai.transforms import LoadImage

from scripts.errors import InputError
from scripts.scans.dicom import find_series, read_dicom
from scripts.scans.dicom.volume import read_dataset, stored_values
from scripts.scans.reader import ScanReader
from tests.dicom_fixtures import grid, volume, write_enhanced, write_series

PLACES = 1e-4  # mm: headers hold decimal numbers of 16 letters


def load(path: Path):
    return LoadImage(reader=ScanReader(), image_only=True)(path)


@pytest.mark.parametrize("degrees", [0.0, 25.0])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_series_is_read_to_the_voxel_and_the_millimetre(tmp_path, degrees, backwards):
    voxels, affine = volume(), grid((0.9, 1.1, 2.5), degrees)
    written, place = (voxels[:, :, ::-1], affine.copy()) if backwards else (voxels, affine)
    if backwards:  # the file names run against the normal of the slices
        place[:3, 3] += 11 * affine[:3, 2]
        place[:3, 2] *= -1
    paths = write_series(tmp_path, written, place)
    found = load(paths[4])
    np.testing.assert_array_equal(np.asarray(found), voxels)
    np.testing.assert_allclose(np.asarray(found.affine), affine, atol=PLACES)


def test_an_enhanced_file_is_sorted_and_rescaled_frame_by_frame(tmp_path):
    voxels, affine = volume(), grid((0.9, 1.1, 2.5), 25.0)
    order = list(np.random.default_rng(0).permutation(12))
    found = read_dicom(write_enhanced(tmp_path / "enhanced.dcm", voxels, affine, order))
    np.testing.assert_array_equal(found.voxels, voxels * (1 + np.arange(12) % 2))
    np.testing.assert_allclose(found.affine, affine, atol=PLACES)
    assert [index for _, index in found.frames] == list(np.argsort(order))


def test_each_slice_is_rescaled_by_its_own_header(tmp_path):
    voxels = volume()
    paths = write_series(tmp_path, voxels, grid((1, 1, 2)), RescaleSlope=0.5, RescaleIntercept=-3)
    found = read_dicom(paths[0]).voxels
    np.testing.assert_allclose(found, voxels * 0.5 - 3)


@pytest.mark.parametrize("kind", ["RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"])
def test_every_compression_gives_the_voxels_of_the_plain_file(kind):
    folder = Path(pydicom.data.__file__).parent / "test_files"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, packed = (folder / f"MR_small{end}.dcm" for end in ("", f"_{kind}"))
        values = stored_values(read_dataset(packed, voxels=True), packed)
        np.testing.assert_array_equal(values, stored_values(read_dataset(plain, voxels=True), plain))


def test_a_missing_slice_is_named(tmp_path):
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5)))
    paths[5].unlink()
    paths[6].unlink()
    with pytest.raises(
        InputError, match=r"2 slice\(s\) missing between IM0004 and IM0007 \(7\.50 mm instead of 2\.50\)"
    ):
        read_dicom(paths[0])


def test_two_volumes_in_one_series_are_refused(tmp_path):
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5)), EchoTime=20, SeriesInstanceUID="1.2.3")
    for path in paths:
        path.rename(path.with_suffix(".first"))
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5)), EchoTime=90, SeriesInstanceUID="1.2.3")
    with pytest.raises(
        InputError, match="24 slices at 12 positions, with echo times of 20, 90 ms: more than one volume"
    ):
        read_dicom(paths[0])


def test_slices_of_several_orientations_are_refused(tmp_path):
    write_series(tmp_path / "a", volume(), grid((1, 1, 2.5)), SeriesInstanceUID="1.2.3")
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5), 40), SeriesInstanceUID="1.2.3")
    shutil.copy(tmp_path / "a" / "IM0003", tmp_path / "other")
    with pytest.raises(InputError, match="its slices are not parallel"):
        read_dicom(paths[0])


def test_unevenly_spaced_slices_are_refused(tmp_path):
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5)))
    dataset = read_dataset(paths[5], voxels=True)
    dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], dataset.ImagePositionPatient[2] + 0.6]
    dataset.save_as(paths[5])
    with pytest.raises(InputError, match="not evenly spaced"):
        read_dicom(paths[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Modality": "CT"}, "the series '' is CT; only MR can be analysed"),
        ({"ImageType": ["DERIVED", "MOSAIC"]}, "holds mosaics"),
    ],
)
def test_other_kinds_of_series_are_refused(tmp_path, change, message):
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5)), **change)
    with pytest.raises(InputError, match=message):
        read_dicom(paths[0])


def test_files_that_do_not_say_where_they_lie_are_refused(tmp_path):
    paths = write_series(tmp_path, volume(), grid((1, 1, 2.5)))
    dataset = read_dataset(paths[5], voxels=True)
    del dataset.ImagePositionPatient
    dataset.save_as(paths[5])
    with pytest.raises(InputError, match=r"IM0005: does not say where its slices lie \(ImagePositionPatient"):
        read_dicom(paths[0])


@pytest.mark.filterwarnings("ignore")
def test_truncated_files_are_named():
    path = Path(pydicom.data.__file__).parent / "test_files" / "MR_truncated.dcm"
    with pytest.raises(InputError, match=r"MR_truncated\.dcm: its voxels cannot be read"):
        stored_values(read_dataset(path, voxels=True), path)


def test_the_series_of_real_exports_are_distinguished():
    folder = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892003"
    found = find_series(folder)
    counts = {name: sum(one.num_images for one in found if one.files[0].parent.name == name) for name in ("MR1", "MR2")}
    assert counts == {"MR1": 3, "MR2": 7}
    assert {one.description for one in found if one.files[0].parent.name == "MR2"} == {
        "FAST LOCALIZER",
        "T/S/C RF FAST PILOT",
    }
