"""Masks lie where their headers put them, not where their array happens to fit."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from scripts.errors import InputError
from scripts.scans import ScanReader
from scripts.scans.volume import is_same_grid, on_grid_of
from scripts.transforms import CheckImaged

SHAPE = (24, 24, 24)
AFFINE = np.array([[-2.0, 0, 0, 24], [0, 2.0, 0, -30], [0, 0, 2.0, -20], [0, 0, 0, 1]])  # LAS
rng = np.random.default_rng(0)
IMAGE = rng.random(SHAPE, dtype=np.float32)
MASK = np.zeros(SHAPE, np.uint8)
MASK[4:13, 6:20, 5:11] = 1
LOAD = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)


def _write(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def _turned(voxels: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    change = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
    return apply_orientation(voxels, change).astype(voxels.dtype), affine @ inv_ornt_aff(change, voxels.shape)


@pytest.fixture
def image(tmp_path: Path):
    return LOAD(_write(tmp_path / "scan.nii.gz", IMAGE, AFFINE))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASL", "SPR", "PIR", "LAS"])
def test_a_mask_in_any_orientation_comes_to_the_same_voxels(tmp_path: Path, image, codes: str) -> None:
    mask = LOAD(_write(tmp_path / "mask.nii.gz", *_turned(MASK, AFFINE, codes)))
    found = CheckImaged("image", mask_keys="brain_mask")({"image": image, "brain_mask": mask})["brain_mask"]
    np.testing.assert_array_equal(np.asarray(found[0]), MASK)
    np.testing.assert_allclose(np.asarray(found.affine), AFFINE)


def test_a_mask_of_half_the_voxel_size_is_sampled_where_the_image_has_its_voxels(tmp_path: Path, image) -> None:
    fine = MASK.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = (AFFINE @ [-0.25, -0.25, -0.25, 1])[:3]
    found = on_grid_of(image, LOAD(_write(tmp_path / "mask.nii.gz", fine, affine)), name="brain_mask")
    np.testing.assert_array_equal(np.asarray(found[0]), MASK)


def test_a_mask_that_lies_elsewhere_is_refused(tmp_path: Path, image) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += 30
    mask = LOAD(_write(tmp_path / "mask.nii.gz", MASK, affine))
    with pytest.raises(InputError, match=r"mask\.nii\.gz: `label` lies elsewhere than its image: \d+ % of it is in the field of view of .*scan"):
        on_grid_of(image, mask, name="label")


def test_a_mask_whose_header_says_no_place_is_refused_unless_it_is_that_of_the_image(tmp_path: Path, image) -> None:
    plain = nib.Nifti1Image(MASK, None)
    plain.header.set_zooms((2, 2, 2))
    plain.set_sform(None, 0)
    plain.set_qform(None, 0)
    nib.save(plain, tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match=r"mask\.nii\.gz: `brain_mask` lies on another grid than its image, and its header does not say where"):
        on_grid_of(image, LOAD(tmp_path / "mask.nii.gz"), name="brain_mask")


def test_rounded_headers_are_the_same_grid() -> None:
    near, far = AFFINE.copy(), AFFINE.copy()
    near[:3, 3] += 0.05
    far[:3, 3] += 0.5
    assert is_same_grid(SHAPE, AFFINE, near)
    assert not is_same_grid(SHAPE, AFFINE, far)


def test_a_background_of_nan_in_a_mask_is_no_brain(tmp_path: Path, image) -> None:
    voxels = np.where(MASK > 0, 1.0, np.nan).astype(np.float32)
    mask = LOAD(_write(tmp_path / "mask.nii.gz", voxels, AFFINE))
    found = CheckImaged("image", mask_keys="brain_mask")({"image": image, "brain_mask": mask})["brain_mask"]
    np.testing.assert_array_equal(np.asarray(found[0]), MASK)
