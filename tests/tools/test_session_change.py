"""Sessions made of one scan, and how what a comparison finds is judged."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform, center_of_mass, gaussian_filter

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError
from tools.quality.session_change import judge
from tools.quality.sessions import motion_of, moved_again, place_lesion, with_lesion

SHAPE = (48, 56, 40)


@pytest.fixture(scope="module")
def scan():
    image, brain, _ = phantom_volume(SHAPE, seed=2)
    return nib.Nifti1Image(1000 * image, phantom_affine(SHAPE, 3.0)), brain > 0


def test_a_moved_session_shows_the_same_head_where_the_motion_says(scan):
    image, _ = scan
    moved, motion = moved_again(image, seed=5), motion_of(image, seed=5)
    assert np.allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3))
    back = affine_transform(moved.get_fdata(), np.linalg.solve(image.affine, motion @ image.affine), order=1)
    inside = np.asarray(image.dataobj) > 0
    first, back, still = (gaussian_filter(volume, 1.0)[inside] for volume in (image.get_fdata(), back, moved.get_fdata()))
    # two interpolations and 2 % noise take the finest texture away, which the filter takes from both
    assert np.corrcoef(back, first)[0, 1] > 0.95
    assert np.corrcoef(still, first)[0, 1] < np.corrcoef(back, first)[0, 1] - 0.05
    assert (moved.get_fdata()[:3] == 0).all()  # the background of a stripped scan has no noise


def test_a_lesion_of_two_sizes_has_one_place_one_darkness_and_its_volumes(scan):
    image, brain = scan
    lesion = place_lesion(brain, image.affine, largest_ml=30, seed=1)
    assert lesion.axes.prod() == pytest.approx(1)
    dark = []
    for volume in (10.0, 30.0):
        made, label_ml = with_lesion(image, brain, lesion, volume_ml=volume)
        change = np.asarray(image.dataobj) - np.asarray(made.dataobj)
        assert label_ml == pytest.approx(volume, rel=0.25)  # the soft edge of voxels of 0.027 ml
        centre = image.affine @ [*center_of_mass(np.abs(change)), 1]
        assert np.linalg.norm(centre[:3] - lesion.centre_mm) < 4
        assert (np.asarray(made.dataobj)[~brain] == np.asarray(image.dataobj)[~brain]).all()
        dark.append(change.max())
    assert dark[0] == pytest.approx(dark[1], rel=0.3)
    with pytest.raises(InputError, match="no room for a lesion of 5000 ml"):
        place_lesion(brain, image.affine, largest_ml=5000, seed=1)


def test_what_lies_elsewhere_than_the_lesion_is_false():
    row = {"before_ml": 1.0, "after_ml": 4.0, "change_ml": 3.0}
    regions = [
        {**row, "change": "grown", "peak_mm": [1, 2, 3]}, {**row, "change": "new", "peak_mm": [40, 0, 0], "change_ml": 2.0},
        {**row, "change": "unchanged", "peak_mm": [-40, 0, 0]}, {**row, "change": "vanished", "peak_mm": [0, 40, 0], "change_ml": -0.5},
    ]  # fmt: skip
    alignment = {"turn_deg": 1.0, "shift_mm": 2.0, "overlap": 0.9, "similarity": 0.9}
    found = judge({"status": "ok", "regions": regions, "alignment": alignment}, np.zeros(3), radius_mm=10)
    assert (found["found"], found["before_ml"], found["after_ml"]) == ("grown", 1.0, 4.0)
    assert (found["false_count"], found["false_ml"]) == (2, 2.5)
    nowhere = judge({"status": "ok", "regions": regions, "alignment": alignment}, None, radius_mm=0)
    assert (nowhere["found"], nowhere["false_count"]) == (None, 3)
    assert judge({"status": "failed", "regions": []}, None, radius_mm=0)["false_ml"] is None
