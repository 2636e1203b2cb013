"""The template on the working grid, and the numbers that say how well a brain lies on it."""

from __future__ import annotations

import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from scripts.registration.template import load_template, mask_dice, masked_correlation
from scripts.scans.volume import TEMPLATE_CENTER_MM, grid_affine


def test_template_lies_on_the_working_grid_and_is_loaded_once():
    template = load_template()
    assert template is load_template()
    assert template.image.shape == template.mask.shape == (96, 96, 80)
    assert template.image.dtype == template.mask.dtype == np.float32
    assert np.array_equal(template.affine, grid_affine(TEMPLATE_CENTER_MM, (96, 96, 80), 2.0))
    assert 0.9 < template.image.max() <= 1
    assert not template.image[template.mask == 0].any()
    with pytest.raises(ValueError, match="read-only"):
        template.image[0, 0, 0] = 1


def test_its_voxels_are_nilearns_at_the_same_place_in_the_world():
    template, source, mask = load_template(), load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    # Both grids hold the even millimetres, so the one is a cut-out of the other.
    corner = np.rint(np.linalg.solve(source.affine, template.affine[:, 3])[:3]).astype(int)
    part = tuple(slice(c, c + n) for c, n in zip(corner, template.image.shape, strict=True))
    inside = mask.get_fdata()[part] > 0.5
    assert np.array_equal(template.mask > 0, inside)
    np.testing.assert_allclose(template.image[inside], source.get_fdata()[part][inside], atol=1e-6)
    # The brain is whole: 1.88 l, as nilearn's mask.
    assert inside.sum() == np.count_nonzero(mask.get_fdata() > 0.5)


def test_dice_of_known_masks():
    first, second = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    first[:2], second[1:3] = 1, 1
    assert mask_dice(first, second) == pytest.approx(0.5)
    assert mask_dice(first, first) == 1
    assert mask_dice(first * 0, first * 0) == 0


def test_correlation_is_numpys_inside_the_mask_and_0_where_it_has_none():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 6, 6, 6))
    mask = rng.random((6, 6, 6)) > 0.4
    assert masked_correlation(first, second, mask) == pytest.approx(np.corrcoef(first[mask], second[mask])[0, 1])
    assert masked_correlation(first, 3 - 2 * first, mask) == pytest.approx(-1)
    assert masked_correlation(first, np.ones_like(first), mask) == 0
    assert masked_correlation(first, second, mask & False) == 0
