"""The rows of a lesion table."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.results.lesions import lesion_table

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def test_lesions_are_counted_by_touching_voxels_and_sorted_by_size() -> None:
    mask = np.zeros((8, 8, 8))
    mask[1:3, 1:3, 1:3] = 1
    mask[3, 3, 3] = 1  # touches the cube at a corner
    mask[6, 6, 6] = 1
    scores = np.zeros_like(mask)
    scores[1, 1, 1], scores[6, 6, 6] = 5, 2
    first, second = lesion_table(mask, scores, AFFINE)
    assert first["volume_ml"] == pytest.approx(9 * 12 / 1000)
    assert second == {"label": 2, "volume_ml": pytest.approx(0.012), "centroid_mm": [12.0, 12.0, 18.0], "peak": 2.0, "mean": 2.0}
    assert first["peak"] == 5.0
    assert first["mean"] == pytest.approx(5 / 9)


def test_the_place_on_the_template_follows_the_alignment() -> None:
    mask = np.zeros((8, 8, 8))
    mask[2, 3, 4] = 1
    shift = np.diag([0.5, 1.0, -1.0, 1.0])
    shift[:3, 3] = [10.0, 0.0, 1.0]
    (row,) = lesion_table(mask, mask, AFFINE, world_to_template=shift)
    assert row["centroid_mm"] == [4.0, 6.0, 12.0]
    assert row["centroid_mni_mm"] == [12.0, 6.0, -11.0]


def test_no_lesion_gives_an_empty_table() -> None:
    assert lesion_table(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), AFFINE) == []
