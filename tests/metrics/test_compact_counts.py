"""Exact counts that keep only what matters: the same areas and best Dice as all voxels, however they come in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from scripts.metrics import score_counts as module
from scripts.metrics.score_counts import (
    ScoreCounts,
    count_around,
    counts_from_around,
    lesion_counts,
    pooled_precision_recall,
    pooled_voxel_scores,
)
from scripts.metrics.thresholds import pooled_best_dice


def compact_counts(scores, target):
    """Count as an evaluation does: lesion voxels first, the others around their scores."""
    positives = lesion_counts(scores[target])
    return counts_from_around(positives, count_around(positives, scores[~target]))


def best_dice(scores, target):
    return pooled_best_dice(ScoreCounts.count(scores, target))


def voxels(seed, *, size=3000, levels=None, signed=False, dtype=np.float32):
    """Scores higher in the target; `levels` makes ties within and between the classes."""
    rng = np.random.default_rng(seed)
    target = rng.random(size) < 0.05
    scores = rng.random(size) + 0.4 * target - (0.5 if signed else 0)
    return (np.round(scores * levels) / levels if levels else scores).astype(dtype), target


CASES = [{}, {"levels": 20}, {"signed": True, "levels": 50}, {"dtype": np.float64}, {"levels": 3}]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_areas_and_best_dice_are_those_of_all_voxels(seed, options):
    scores, target = voxels(seed, **options)
    counts = compact_counts(scores, target)
    found = pooled_voxel_scores(counts)
    # The same sums over fewer terms: float64 rounding only.
    assert found.auprc == pytest.approx(average_precision_score(target, scores), rel=1e-12)
    assert found.auroc == pytest.approx(roc_auc_score(target, scores), rel=1e-12)
    assert pooled_best_dice(counts) == best_dice(scores, target)
    assert counts.num_voxels == scores.size
    assert len(counts.values) <= 2 * target.sum() + 1
    assert np.all(np.diff(counts.values) > 0)


def test_precision_at_each_recall_is_that_of_all_voxels():
    scores, target = voxels(1)
    recall, precision = pooled_precision_recall(compact_counts(scores, target), num_points=50)
    expected_precision, expected_recall, _ = precision_recall_curve(target, scores)
    best = {r: max(expected_precision[expected_recall == r]) for r in set(expected_recall.tolist())}
    assert all(p <= best[r] + 1e-12 for r, p in zip(recall.tolist(), precision.tolist(), strict=True))


@pytest.mark.parametrize("options", CASES)
def test_cases_counted_one_by_one_add_up_to_all_voxels(options):
    parts = [voxels(seed, **options) for seed in range(4)]
    positives = ScoreCounts.total(lesion_counts(scores[target]) for scores, target in parts)
    around = sum(count_around(positives, scores[~target]) for scores, target in parts)
    together = compact_counts(*(np.concatenate([part[place] for part in parts]) for place in (0, 1)))
    for name in ("values", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(counts_from_around(positives, around), name), getattr(together, name))


def test_pieces_do_not_show(monkeypatch):
    scores, target = voxels(2, levels=100)
    whole = compact_counts(scores, target)
    monkeypatch.setattr(module, "_PIECE", 7)
    np.testing.assert_array_equal(compact_counts(scores, target).negatives, whole.negatives)


def test_neighbouring_floats_stay_apart():
    low, high = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))
    counts = compact_counts(np.array([low, high, high], np.float32), np.array([True, False, True]))
    assert (counts.positives.tolist(), counts.negatives.tolist()) == ([1, 1], [0, 1])


def test_zeros_outside_the_brain_can_be_added():
    scores, target = voxels(3, signed=True)
    scores[0], target[0] = 0, True
    padded = np.append(scores, np.zeros(500, np.float32)), np.append(target, np.zeros(500, bool))
    found = pooled_voxel_scores(compact_counts(scores, target).with_zeros(positives=0, negatives=500))
    assert found == pytest.approx((average_precision_score(*padded[::-1]), roc_auc_score(*padded[::-1])), rel=1e-12)


def test_without_a_lesion_voxel_everything_is_undefined():
    counts = compact_counts(np.array([0.1, 0.2]), np.zeros(2, bool))
    assert counts.num_voxels == 2
    assert all(math.isnan(value) for value in (*pooled_voxel_scores(counts), *pooled_best_dice(counts)))


def test_counts_of_other_lesion_scores_are_refused():
    with pytest.raises(ValueError, match=r"`around` must have shape \(3,\), got \(5,\)"):
        counts_from_around(lesion_counts([0.5]), np.zeros(5, np.int64))
    with pytest.raises(ValueError, match="`scores` must be finite, got 1 NaN"):
        count_around(lesion_counts([0.5]), [np.nan])
