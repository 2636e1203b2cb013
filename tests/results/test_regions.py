"""The rows of a table of candidate regions, and which regions stay."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from scripts.errors import InputError
from scripts.results import check_min_volume, region_table, without_small_regions

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def test_regions_are_joined_by_touching_voxels_and_ranked_by_the_excess_over_the_threshold() -> None:
    mask = np.zeros((8, 8, 8))
    mask[1:3, 1:3, 1:3] = 1
    mask[3, 3, 3] = 1  # touches the cube at a corner
    mask[6, 6, 6] = 1
    scores = np.where(mask > 0, 1.25, 0)
    scores[1, 1, 2], scores[6, 6, 6] = 1.5, 9.0
    first, second = region_table(mask, scores, AFFINE, threshold=1.0)
    assert first == {
        "rank": 1, "volume_ml": pytest.approx(0.012), "peak": 9.0, "mean": 9.0, "evidence": pytest.approx(0.012 * 8),
        "peak_mm": [12.0, 12.0, 18.0], "centroid_mm": [12.0, 12.0, 18.0],
    }  # fmt: skip
    assert (second["rank"], second["volume_ml"]) == (2, pytest.approx(9 * 0.012))
    # a sum over the voxels, written out
    assert second["evidence"] == pytest.approx(0.012 * (8 * 0.25 + 0.5))
    assert (second["peak"], second["peak_mm"]) == (1.5, [2.0, 2.0, 6.0])


def test_the_peak_lies_inside_a_region_whose_centroid_does_not() -> None:
    mask = np.zeros((9, 9, 3))
    mask[1:8, 1:8, 1], mask[2:7, 2:7, 1] = 1, 0  # a ring
    scores = mask * np.random.default_rng(0).uniform(1, 2, mask.shape)
    (row,) = region_table(mask, scores, AFFINE)
    voxel = tuple(np.rint(np.array(row["peak_mm"]) / [2, 2, 3]).astype(int))
    assert scores[voxel] == row["peak"] == scores.max()
    centre = tuple(np.rint(np.array(row["centroid_mm"]) / [2, 2, 3]).astype(int))
    assert mask[centre] == 0


def test_the_place_on_the_template_follows_the_alignment() -> None:
    mask = np.zeros((8, 8, 8))
    mask[2, 3, 4] = 1
    shift = np.diag([0.5, 1.0, -1.0, 1.0])
    shift[:3, 3] = [10.0, 0.0, 1.0]
    seen = []
    place_of = lambda points: seen.append(points) or {"side": "right"}  # noqa: E731
    (row,) = region_table(mask, mask, AFFINE, world_to_template=shift, place_of=place_of)
    assert row["centroid_mm"] == row["peak_mm"] == [4.0, 6.0, 12.0]
    assert row["centroid_mni_mm"] == row["peak_mni_mm"] == [12.0, 6.0, -11.0]
    assert row["side"] == "right"
    np.testing.assert_allclose(seen, [[[12.0, 6.0, -11.0]]])


def test_no_region_gives_an_empty_table() -> None:
    assert region_table(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), AFFINE) == []


@pytest.mark.parametrize("voxels", [0, 1, 2, 5, 40])
def test_regions_of_the_smallest_volume_stay_and_smaller_ones_go(voxels: int) -> None:
    mask = np.random.default_rng(1).random((20, 20, 20)) > 0.93
    kept = without_small_regions(mask, AFFINE, min_volume_ml=voxels * 0.012)
    labels, count = label(mask, structure=np.ones((3, 3, 3)))
    expected = np.zeros_like(mask)
    for number in range(1, count + 1):
        if (labels == number).sum() >= voxels:
            expected |= labels == number
    np.testing.assert_array_equal(kept, expected)


def test_a_smallest_volume_is_a_number_from_0_on() -> None:
    assert (check_min_volume(None), check_min_volume(2)) == (0.0, 2.0)
    for wrong in (-1, float("nan"), float("inf"), True, "1"):
        with pytest.raises(InputError, match="`min_volume_ml` must be a number at or above 0, got"):
            check_min_volume(wrong)
