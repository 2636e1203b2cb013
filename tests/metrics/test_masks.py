"""Metrics of a mask and of a reconstruction, against closed forms and naive oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from scripts.metrics.score_counts import slice_scores
from scripts.metrics.segmentation import find_lesions, lesion_scores, reconstruction_error, segmentation_scores


def boxes(*corners, shape=(12, 10, 8)):
    mask = np.zeros(shape, bool)
    for low, high in corners:
        mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def naive_surface(mask, spacing):
    """Coordinates in mm of voxels with a face neighbour outside the mask."""
    edge = mask & ~ndimage.binary_erosion(mask)
    return np.argwhere(edge) * np.asarray(spacing)


@pytest.mark.parametrize("seed", range(3))
def test_overlap_and_distance_equal_a_naive_oracle(seed):
    rng, spacing = np.random.default_rng(seed), (2.0, 1.0, 3.0)
    predicted, target = (rng.random((7, 9, 6)) > 0.8 for _ in range(2))
    found = segmentation_scores(predicted, target, spacing_mm=spacing)
    both = np.sum(predicted & target)
    assert found.dice == pytest.approx(2 * both / (predicted.sum() + target.sum()))
    assert found.precision == pytest.approx(both / predicted.sum())
    assert found.recall == pytest.approx(both / target.sum())
    distances = cdist(naive_surface(predicted, spacing), naive_surface(target, spacing))
    there, back = distances.min(axis=1), distances.min(axis=0)
    # MONAI computes distances in float32.
    assert found.hausdorff_mm == pytest.approx(max(there.max(), back.max()), rel=1e-6)
    robust = max(np.percentile(there, 95), np.percentile(back, 95))
    assert found.hausdorff95_mm == pytest.approx(robust, rel=1e-6)
    assert found.false_positive_ml == pytest.approx(np.sum(predicted & ~target) * 6 / 1000)
    assert found.predicted_ml == pytest.approx(predicted.sum() * 6 / 1000)


def test_hausdorff_distance_of_a_shifted_box_is_the_shift_in_mm():
    target, predicted = boxes(((2, 2, 2), (5, 5, 5))), boxes(((6, 2, 2), (9, 5, 5)))
    assert segmentation_scores(predicted, target, spacing_mm=(2, 1, 1)).hausdorff_mm == pytest.approx(8)


def test_a_perfect_mask_scores_perfectly():
    mask = boxes(((1, 1, 1), (4, 4, 4)), ((8, 6, 5), (10, 9, 7)))
    found = segmentation_scores(mask, mask)
    assert (found.dice, found.precision, found.recall, found.lesion_sensitivity, found.lesion_f1) == (1, 1, 1, 1, 1)
    assert (found.lesion_f1_iou50, found.panoptic_quality) == (1, 1)
    assert (found.hausdorff_mm, found.hausdorff95_mm, found.false_positive_ml) == (0, 0, 0)


def test_a_healthy_scan_gives_only_volumes():
    predicted = boxes(((0, 0, 0), (5, 4, 5)))
    found = segmentation_scores(predicted, np.zeros_like(predicted), spacing_mm=(2, 2, 2))
    assert (found.false_positive_ml, found.predicted_ml, found.precision) == (0.8, 0.8, 0)
    undefined = ("dice", "recall", "hausdorff_mm", "hausdorff95_mm", "lesion_sensitivity", "lesion_f1", "panoptic_quality")
    for name in undefined:
        assert math.isnan(getattr(found, name))


def test_an_empty_prediction_is_a_miss():
    target = boxes(((1, 1, 1), (4, 4, 4)))
    found = segmentation_scores(np.zeros_like(target), target)
    assert (found.dice, found.recall, found.lesion_sensitivity, found.lesion_f1, found.predicted_ml) == (0, 0, 0, 0, 0)
    assert math.isnan(found.precision)
    assert math.isnan(found.hausdorff_mm)


def test_lesions_are_counted_by_component_and_one_voxel_finds_one():
    target = boxes(((1, 1, 1), (4, 4, 4)), ((6, 1, 1), (8, 3, 3)), ((6, 6, 5), (8, 8, 7)))
    predicted = boxes(((3, 3, 3), (4, 4, 4)), ((6, 2, 2), (7, 6, 3)), ((10, 8, 0), (12, 10, 2)))
    found = lesion_scores(predicted, target)
    assert (found.sensitivity, found.precision, found.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def naive_panoptic(predicted, target):
    """Recognition and panoptic quality from the IoU of every pair of components."""
    cubes = np.ones((3, 3, 3))
    (first, m), (second, n) = (ndimage.label(mask, structure=cubes) for mask in (predicted, target))
    ious = [
        np.sum((first == i) & (second == j)) / np.sum((first == i) | (second == j))
        for i in range(1, m + 1)
        for j in range(1, n + 1)
    ]
    matched = [iou for iou in ious if iou > 0.5]
    return 2 * len(matched) / (m + n), 2 * sum(matched) / (m + n)


@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_equals_a_naive_oracle(seed):
    rng = np.random.default_rng(seed)
    target = ndimage.zoom(rng.random((5, 5, 4)), 3, order=0) > 0.85
    predicted = target ^ (rng.random(target.shape) > 0.97)
    # MONAI adds up IoU in float32.
    assert lesion_scores(predicted, target)[3:] == pytest.approx(naive_panoptic(predicted, target), rel=1e-6)


def test_panoptic_quality_wants_half_of_a_lesion_where_one_voxel_finds_it():
    target, predicted = boxes(((1, 1, 1), (5, 5, 5))), boxes(((1, 1, 1), (5, 5, 3)))
    assert lesion_scores(predicted, target).f1 == 1
    assert lesion_scores(predicted, target)[3:] == (0, 0)  # an IoU of exactly one half is no match
    assert lesion_scores(np.zeros_like(target), target)[3:] == (0, 0)
    assert all(math.isnan(value) for value in lesion_scores(target, np.zeros_like(target))[3:])


def test_voxels_that_touch_at_a_corner_are_one_lesion():
    target = boxes(((1, 1, 1), (2, 2, 2)), ((2, 2, 2), (3, 3, 3)))
    assert len(find_lesions(target, spacing_mm=(1, 1, 1)).volume_ml) == 1
    assert lesion_scores(boxes(((1, 1, 1), (2, 2, 2))), target).sensitivity == 1


def test_one_predicted_component_may_find_several_lesions():
    target = boxes(((1, 1, 1), (2, 2, 2)), ((5, 1, 1), (6, 2, 2)))
    found = lesion_scores(boxes(((1, 1, 1), (6, 2, 2))), target)
    assert (found.sensitivity, found.precision, found.f1) == (1, 1, 1)


def test_lesion_wise_answers_without_lesion_or_prediction():
    empty, some = boxes(), boxes(((1, 1, 1), (2, 2, 2)))
    missed, healthy = lesion_scores(empty, some), lesion_scores(some, empty)
    assert (missed.sensitivity, missed.f1) == (0, 0)
    assert math.isnan(missed.precision)
    assert math.isnan(healthy.sensitivity)
    assert math.isnan(healthy.f1)
    assert healthy.precision == 0


def test_a_slice_scores_its_maximum_inside_the_brain():
    scores, brain = np.random.default_rng(0).normal(size=(6, 5, 4)), np.ones((6, 5, 4), bool)
    brain[:, :, 3], brain[0, 0] = False, False
    scores[0, 0] = 99  # outside the brain
    target = boxes(((2, 2, 1), (3, 3, 2)), shape=(6, 5, 4))
    found = slice_scores(scores, target, brain_mask=brain)
    assert found.position.tolist() == [0, 1, 2]
    assert found.has_lesion.tolist() == [False, True, False]
    assert found.score.tolist() == [scores[:, :, k][brain[:, :, k]].max() for k in range(3)]


def test_reconstruction_error_is_apart_for_lesions_and_inside_the_brain():
    image, reconstructed = np.zeros((4, 4, 2), np.float32), np.full((4, 4, 2), 0.25, np.float32)
    target, brain = np.zeros((4, 4, 2), bool), np.ones((4, 4, 2), bool)
    target[0, 0], brain[3] = True, False
    image[0, 0], image[3] = 0.75, 100
    found = reconstruction_error(image, reconstructed, target, brain_mask=brain)
    assert found == (0.25, 0.5, 0.0625, 0.25)
    healthy = reconstruction_error(image, reconstructed, np.zeros_like(target), brain_mask=brain)
    assert math.isnan(healthy.l1_error_anomalous)
    assert math.isnan(healthy.l2_error_anomalous)


def test_bad_input_is_refused():
    mask = boxes(((1, 1, 1), (2, 2, 2)))
    with pytest.raises(ValueError, match=r"must have the same shape \[H, W, D\], got \(12, 10, 8\) and \(3, 3, 3\)"):
        segmentation_scores(mask, np.zeros((3, 3, 3), bool))
    with pytest.raises(ValueError, match=r"`spacing_mm` must be three positive lengths, got \(1, 0, 1\)"):
        segmentation_scores(mask, mask, spacing_mm=(1, 0, 1))
    with pytest.raises(ValueError, match=r"`prediction` must hold only 0 and 1, got \[0.5\]"):
        lesion_scores(mask * 0.5, mask)
    with pytest.raises(ValueError, match="`prediction` and `target` must have the same shape"):
        lesion_scores(mask, mask[1:])
    with pytest.raises(ValueError, match="`scores`, `target` and `brain_mask` must have the same shape"):
        slice_scores(mask.astype(float), mask[1:], brain_mask=mask)
    with pytest.raises(ValueError, match="must have the same shape, got"):
        reconstruction_error(mask, mask[1:], mask, brain_mask=mask)
    with pytest.raises(ValueError, match="`reconstruction` must be finite, got 960 NaN"):
        reconstruction_error(mask, np.full(mask.shape, np.nan), mask, brain_mask=mask)
