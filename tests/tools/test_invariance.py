"""Altered copies of a scan, and how alike their results are."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantom import phantom_affine, phantom_volume
from tools.quality.alterations import INTENSITIES, finer, intensity_copies, thicker
from tools.quality.heads import find_brain, sample_on_template, set_into_scan
from tools.quality.invariance import compare
from tools.quality.lesions import Kind

SHAPE = (64, 64, 56)
AFFINE = phantom_affine(SHAPE, 3.0)
VOXELS = np.asarray(phantom_volume(SHAPE, 3, "t1")[0]) * 300
STRIPPED = nib.Nifti1Image(VOXELS.astype(np.float32), AFFINE)


def middle(image: nib.Nifti1Image) -> np.ndarray:
    """Centre of brightness, mm."""
    voxels = image.get_fdata()
    places = np.indices(voxels.shape).reshape(3, -1) @ voxels.ravel() / voxels.sum()
    return image.affine[:3, :3] @ places + image.affine[:3, 3]


def test_copies_of_a_stripped_scan_are_the_same_but_for_scale_and_offset() -> None:
    copies = {copy.name: copy.image for copy in intensity_copies(STRIPPED)}
    assert set(copies) == {*INTENSITIES, "z-score inside", "NaN outside"}
    brain = VOXELS > 0
    for name, image in copies.items():
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, AFFINE)
        assert np.corrcoef(image.get_fdata()[brain], VOXELS[brain])[0, 1] > 0.99999, name
    assert np.isnan(copies["NaN outside"].get_fdata()[~brain]).all()
    assert abs(copies["z-score inside"].get_fdata()[brain].mean()) < 1e-5


def test_finer_and_thicker_voxels_stay_where_the_scan_is() -> None:
    fine = finer(STRIPPED, edge_mm=1.5).image
    assert fine.header.get_zooms() == (1.5, 1.5, 1.5)
    np.testing.assert_allclose(middle(fine), middle(STRIPPED), atol=0.3)
    thick = thicker(STRIPPED, slice_mm=6, slices=28).image
    assert thick.header.get_zooms() == (3, 3, 6)
    np.testing.assert_allclose(middle(thick), middle(STRIPPED), atol=1e-3)
    np.testing.assert_allclose(thick.get_fdata()[..., 3], VOXELS[..., 6:8].mean(axis=-1), rtol=1e-5)


def test_results_are_compared_on_the_grid_of_the_first() -> None:
    brain = (VOXELS > 0).astype(np.float32)
    mask = np.zeros_like(brain)
    mask[20:30, 20:30, 20:30] = 1
    plain = {name: nib.Nifti1Image(x, AFFINE) for name, x in (("brain_mask", brain), ("lesion_mask", mask), ("anomaly_map", STRIPPED.get_fdata(dtype=np.float32)))}
    turned = {name: nib.Nifti1Image(image.get_fdata(dtype=np.float32)[::-1], AFFINE @ np.diag([-1, 1, 1, 1.0]) + np.outer([1, 0, 0, 0], [0, 0, 0, 3.0 * 63])) for name, image in plain.items()}
    same = compare(plain, turned)
    assert same["dice"] == same["brain_dice"] == 1
    assert same["correlation"] == pytest.approx(1)
    assert same["plain_ml"] == same["copy_ml"] == pytest.approx(27)
    half = {**plain, "lesion_mask": nib.Nifti1Image(np.roll(mask, 5, axis=0), AFFINE)}
    assert compare(plain, half)["dice"] == pytest.approx(0.5)
    assert compare(plain, None)["dice"] is None


def test_a_lesion_is_set_into_the_brain_of_a_scan() -> None:
    rng = np.random.default_rng(5)
    case = find_brain(VOXELS, AFFINE, "t1")
    lesion = sample_on_template(60, rng)
    painted = set_into_scan(VOXELS, AFFINE, case, lesion, kind=Kind.DARK, modality="t1", rng=rng)
    changed = np.abs(painted - VOXELS) > 0.1 * VOXELS.max()
    brain = case["brain_mask"][0].numpy() > 0
    assert changed[brain].sum() == changed.sum()
    assert 30 < changed.sum() * 0.027 < 75  # ml; where the tissue is as dark, nothing changes
    assert painted[changed].mean() < VOXELS[changed].mean()
