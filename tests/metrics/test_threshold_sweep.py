"""Threshold-free scores and the search for the best threshold, against naive oracles, scikit-learn and parity numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from scripts.metrics.score_counts import ScoreCounts, pooled_precision_recall, pooled_voxel_scores, voxel_scores
from scripts.metrics.thresholds import DicePoint, pooled_best_dice


def phantom(seed: int, *, size: int = 400, levels: int = 40, signed: bool = False):
    """Scores with many ties that are higher inside the target."""
    rng = np.random.default_rng(seed)
    target = rng.random((size // 10, 10)) < 0.2
    scores = np.round(rng.random(target.shape) * levels + target * levels / 3) / levels
    return (scores - (0.5 if signed else 0)).astype(np.float32), target


def naive_best_dice(scores, target):
    candidates = sorted(set(scores.ravel().tolist()), reverse=True)
    found = [(f1_score(target.ravel(), scores.ravel() >= t), t) for t in candidates]
    best = max(dice for dice, _ in found)
    return best, max(t for dice, t in found if dice == best)


def best_dice(scores, target):
    return pooled_best_dice(ScoreCounts.count(scores, target))


def greedy_dice(scores, target, *, num_steps=10):
    """The reference experiment's search for the highest Dice: greedy bisection of [0, maximum] in the scores' dtype.

    Each step looks at one quarter and three quarters of the interval and goes on in the half of the better one (the
    lower half on a tie); the best threshold seen wins, the later one on a tie.
    """
    number, bottom, top, best = scores.dtype.type, scores.dtype.type(0), scores.max(), DicePoint(-1.0, math.nan)
    for _ in range(num_steps):
        thresholds = [bottom + (top - bottom) * number(share) for share in (0.25, 0.75)]
        steps = [DicePoint(f1_score(target.ravel(), scores.ravel() >= t), float(t)) for t in thresholds]
        better = steps[0] if steps[0].dice >= steps[1].dice else steps[1]
        best = better if better.dice >= best.dice else best
        middle = bottom + (top - bottom) * number(0.5)
        bottom, top = (bottom, middle) if better is steps[0] else (middle, top)
    return best


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("signed", [False, True])
def test_best_dice_equals_the_best_of_every_threshold(seed, signed):
    scores, target = phantom(seed, signed=signed)
    dice, threshold = naive_best_dice(scores, target)
    found = best_dice(scores, target)
    assert found.dice == pytest.approx(dice, abs=1e-12)  # one division in float64 on both sides
    assert found.threshold == threshold


def test_a_voxel_at_the_threshold_is_predicted():
    assert best_dice([0.1, 0.5, 0.9], [0, 1, 1]) == (1.0, 0.5)


def test_ties_of_dice_go_to_the_highest_threshold():
    # Dice 2/3 at 0.9 (one of two lesion voxels) and again at 0.1 (both, with two false positives).
    assert best_dice([0.9, 0.5, 0.4, 0.1], [1, 0, 0, 1]) == (pytest.approx(2 / 3), 0.9)


def test_ties_of_scores_cannot_be_split():
    assert best_dice([0.5, 0.5, 0.5, 0.1], [1, 0, 0, 0]) == (0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_exact_search_reaches_at_least_the_greedy_one(seed):
    scores, target = phantom(seed, levels=10_000)
    assert best_dice(scores, target).dice >= greedy_dice(scores, target).dice


def test_greedy_search_misses_a_narrow_optimum_that_the_exact_one_finds():
    # Nearly all scores lie in the lowest thousandth of the range, where ten halvings resolve nothing.
    scores, target = np.array([1e-4, 2e-4, 3e-4, 1.0]), np.array([0, 1, 1, 0])
    assert best_dice(scores, target) == (0.8, 2e-4)
    assert greedy_dice(scores, target, num_steps=3).dice == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_voxel_scores_are_those_of_scikit_learn(seed):
    scores, target = phantom(seed)
    found = voxel_scores(scores, target)
    assert found.auprc == average_precision_score(target.ravel(), scores.ravel())
    assert found.auroc == roc_auc_score(target.ravel(), scores.ravel())


def test_voxel_scores_in_closed_form():
    # Ranked 1 0 1: average precision (1 + 2/3) / 2, one of the two pairs in order.
    assert voxel_scores([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx((5 / 6, 0.5))


def test_a_missing_class_gives_nan():
    assert all(math.isnan(value) for value in voxel_scores([0.1, 0.2], [0, 0]))
    assert all(math.isnan(value) for value in best_dice([0.1, 0.2], [0, 0]))
    assert pooled_precision_recall(ScoreCounts.count([0.1]))[0].size == 0
    only_lesion = voxel_scores([0.1, 0.2], [1, 1])
    assert only_lesion.auprc == 1
    assert math.isnan(only_lesion.auroc)


def test_stored_scores_of_the_reference_are_reproduced(parity_dir):
    arrays, expected = np.load(parity_dir / "anomaly_map.npz"), json.loads((parity_dir / "scores.json").read_text())
    scores, target = arrays["anomaly_map"], arrays["lesion"]
    areas, greedy, exact = voxel_scores(scores, target), greedy_dice(scores, target), best_dice(scores, target)
    assert areas.auprc == pytest.approx(expected["average_precision"], abs=1e-6)
    assert areas.auroc == pytest.approx(expected["auroc"], abs=1e-6)
    assert greedy.dice == pytest.approx(expected["best_dice_greedy"], abs=1e-12)
    assert greedy.threshold == expected["best_threshold_greedy"]  # the same float32 arithmetic, bit for bit
    assert exact.dice >= greedy.dice


@pytest.mark.parametrize("signed", [False, True])
def test_counts_added_case_by_case_equal_counts_of_all_voxels(signed):
    cases = [phantom(seed, signed=signed) for seed in range(3)]
    together = ScoreCounts.count(*(np.concatenate([case[part] for case in cases]) for part in (0, 1)))
    added = sum((ScoreCounts.count(*case) for case in cases), start=ScoreCounts.empty())
    for name in ("values", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(added, name), getattr(together, name))
    assert pooled_best_dice(added) == best_dice(*(np.concatenate([case[part] for case in cases]) for part in (0, 1)))


def test_pooled_areas_are_those_of_the_voxels():
    scores, target = phantom(0)
    # The same sums in another order: float64 rounding only.
    assert pooled_voxel_scores(ScoreCounts.count(scores, target)) == pytest.approx(voxel_scores(scores, target), 1e-12)


def test_rounded_counts_are_exact_at_their_own_thresholds():
    rng = np.random.default_rng(3)
    scores = (rng.normal(size=20_000) * 10.0 ** rng.integers(-3, 3, 20_000)).astype(np.float32)
    target = rng.random(scores.shape) < 0.1
    counts = ScoreCounts.count(scores, target, mantissa_bits=4)
    true_positives, predicted = counts.at_or_above()
    assert len(counts.values) < 1000
    for index in range(0, len(counts.values), 7):
        above = scores >= counts.values[index]
        assert predicted[index] == above.sum()
        assert true_positives[index] == (above & target).sum()


def test_rounding_goes_down_by_less_than_one_step_of_the_mantissa():
    scores = np.array([-3.7, -1.0, -0.0, 0.0, 1e-5, 1.0, 1.999, 250.3], np.float32)
    rounded = ScoreCounts.count(scores, mantissa_bits=14).values
    exact = np.unique(scores)
    assert np.all(rounded <= exact)
    assert np.all(exact - rounded <= np.abs(exact) * 2.0**-13)  # a step is 2^-14 of the octave's start or end


def test_zeros_can_be_added_to_counts():
    scores, target = phantom(1)
    padded = ScoreCounts.count(np.append(scores.ravel(), [0, 0, 0]), np.append(target.ravel(), [1, 0, 0]))
    added = ScoreCounts.count(scores, target).with_zeros(positives=1, negatives=2)
    np.testing.assert_array_equal(added.positives, padded.positives)
    np.testing.assert_array_equal(added.negatives, padded.negatives)
    assert (added.num_positives, added.num_voxels) == (target.sum() + 1, target.size + 3)


def test_thinned_curve_keeps_points_of_the_full_one_and_full_recall():
    scores, target = phantom(2, levels=10_000)
    counts = ScoreCounts.count(scores, target)
    recall, precision = pooled_precision_recall(counts, num_points=20)
    assert len(recall) <= 22
    assert recall[-1] == 1
    assert np.all(np.diff(recall) >= 0)
    flat, lesion = scores.ravel(), target.ravel()
    points = {(lesion[flat >= t].sum() / lesion.sum(), lesion[flat >= t].mean()) for t in np.unique(flat)}
    for point in zip(recall, precision, strict=True):
        assert min(abs(r - point[0]) + abs(p - point[1]) for r, p in points) < 1e-12  # float64 rounding


@pytest.mark.parametrize("function", [voxel_scores, best_dice])
def test_bad_input_is_refused(function):
    with pytest.raises(ValueError, match=r"`scores` must be finite, got 2 NaN or infinite values of 3"):
        function([np.nan, np.inf, 0], [0, 0, 1])
    with pytest.raises(ValueError, match=r"must have the same shape, got \(2,\) and \(3,\)"):
        function([0.1, 0.2], [0, 0, 1])
    with pytest.raises(ValueError, match=r"`target` must hold only 0 and 1, got \[2\]"):
        function([0.1, 0.2], [0, 2])


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"`mantissa_bits` must be in 0\.\.23, got 24"):
        ScoreCounts.count([0.1], mantissa_bits=24)
    with pytest.raises(ValueError, match="`num_points` must be at least 2, got 1"):
        pooled_precision_recall(ScoreCounts.count([0.1], [1]), num_points=1)
