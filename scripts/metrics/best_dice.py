"""The threshold with the highest Dice: searched exactly, or by the reference's greedy bisection."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scripts.metrics.arrays import checked_pair
from scripts.metrics.score_counts import ScoreCounts

__all__ = ["DicePoint", "best_dice", "greedy_dice", "pooled_best_dice"]


class DicePoint(NamedTuple):
    """A Dice in [0, 1] and the threshold that gives it: voxels with `score >= threshold` are predicted."""

    dice: float
    threshold: float


def best_dice(scores: ArrayLike, target: ArrayLike) -> DicePoint:
    """Find the threshold of the highest Dice exactly, over all thresholds.

    Dice changes only where the threshold crosses a score, so the distinct scores are all the candidates there are: one
    sort counts lesion and other voxels per score, cumulative sums give 2 TP / (predicted + lesion) at each. Of
    thresholds with equal Dice the highest is returned, the one that predicts the fewest voxels. O(N log N) time, O(N)
    memory.

    Args:
        scores: any shape, higher is more anomalous.
        target: same shape, 1 inside lesions and 0 elsewhere.

    Returns:
        The best Dice and its threshold, which is one of the scores; (NaN, NaN) when there is no lesion voxel.

    Raises:
        ValueError: when shapes differ, a score is not finite or the target is not binary.

    Examples:
        >>> best_dice([0.1, 0.4, 0.8, 0.9], [0, 0, 1, 1])
        DicePoint(dice=1.0, threshold=0.8)
    """
    return pooled_best_dice(ScoreCounts.count(scores, target))


def pooled_best_dice(counts: ScoreCounts) -> DicePoint:
    """Find the highest Dice over the thresholds `counts.values`; ties and NaN as in `best_dice`."""
    if counts.num_positives == 0:
        return DicePoint(math.nan, math.nan)
    true_positives, predicted = counts.at_or_above()
    dice = 2 * true_positives / (predicted + counts.num_positives)
    best = len(dice) - 1 - int(np.argmax(dice[::-1]))
    return DicePoint(float(dice[best]), float(counts.values[best]))


def greedy_dice(scores: ArrayLike, target: ArrayLike, *, num_steps: int = 10) -> DicePoint:
    """Search for the highest Dice by greedy bisection of [0, maximum], as the reference experiment does.

    Each step looks at one quarter and three quarters of the interval and goes on in the half of the better one (the
    lower half on a tie); the best threshold seen wins, the later one on a tie. The search can miss the optimum and
    never beats `best_dice`: it is here to compare with published numbers. Thresholds are computed in the dtype of
    `scores`.

    Args:
        scores: any shape, higher is more anomalous, the maximum at least 0.
        target: same shape, 1 inside lesions and 0 elsewhere.
        num_steps: halvings of the interval.

    Returns:
        The best Dice seen and its threshold; (NaN, NaN) when there is no lesion voxel.

    Raises:
        ValueError: when shapes differ, a score is not finite, the target is not binary or `num_steps` is below 1.
    """
    if num_steps < 1:
        raise ValueError(f"`num_steps` must be at least 1, got {num_steps}")
    flat, lesion = checked_pair(scores, target)
    if not lesion.any():
        return DicePoint(math.nan, math.nan)
    number, ordered, ordered_lesion = flat.dtype.type, np.sort(flat), np.sort(flat[lesion])
    bottom, top, best = number(0), flat.max(), DicePoint(-1.0, math.nan)
    for _ in range(num_steps):
        steps = []
        for share in (0.25, 0.75):
            threshold = bottom + (top - bottom) * number(share)
            predicted = len(ordered) - int(np.searchsorted(ordered, threshold))
            true_positives = len(ordered_lesion) - int(np.searchsorted(ordered_lesion, threshold))
            steps.append(DicePoint(2 * true_positives / (predicted + len(ordered_lesion)), float(threshold)))
        low, high = steps
        better = low if low.dice >= high.dice else high
        best = better if better.dice >= best.dice else best
        middle = bottom + (top - bottom) * number(0.5)
        bottom, top = (bottom, middle) if better is low else (middle, top)
    return best
