"""Single lesions: their volume, how much of them is found, and the bins they fall into."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.metrics.segmentation import find_lesions, lesion_recall, lesion_scores, size_bins


@pytest.fixture
def target():
    mask = np.zeros((12, 10, 8), bool)
    mask[1:4, 1:4, 1:4] = True  # 27 voxels
    mask[6:8, 6:8, 5:7] = True  # 8 voxels
    mask[8, 8, 7] = True  # touches the second at a corner
    return mask


def test_volumes_are_in_ml_and_corners_join(target):
    lesions = find_lesions(target, spacing_mm=(2, 2, 2.5))
    assert lesions.volume_ml == pytest.approx([0.27, 0.09])
    assert lesions.labels.max() == 2


def test_recall_is_the_share_of_each_lesion(target):
    prediction = np.zeros_like(target)
    prediction[1:4, 1:4, 1] = True
    lesions = find_lesions(target, spacing_mm=(1, 1, 1))
    assert lesion_recall(lesions, prediction) == pytest.approx([1 / 3, 0])
    assert lesion_recall(lesions, target).tolist() == [1, 1]
    found = (lesion_recall(lesions, prediction) > 0).mean()
    assert found == lesion_scores(prediction, target).sensitivity


def test_every_volume_falls_into_one_bin():
    bins = size_bins([0.1, 1])
    for volume, place in ((0.05, 0), (0.1, 1), (0.99, 1), (1, 2), (500, 2)):
        assert [low <= volume < high for low, high in bins].index(True) == place


@pytest.mark.parametrize("edges", [[0], [-1, 2], [1, 1], [2, 1]])
def test_edges_must_rise(edges):
    with pytest.raises(ValueError, match=r"must be positive and rising, got \["):
        size_bins(edges)


def test_a_prediction_on_another_grid_is_refused(target):
    with pytest.raises(ValueError, match=r"`prediction` must have the lesions' shape \(12, 10, 8\), got \(11, 10, 8\)"):
        lesion_recall(find_lesions(target, spacing_mm=(1, 1, 1)), target[1:])
