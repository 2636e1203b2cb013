"""Thresholds and what they say: the best Dice, a chosen rate on healthy brains, the rank among healthy scans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scripts.errors import InputError
from scripts.metrics.arrays import checked_pair, checked_scores
from scripts.metrics.score_counts import ScoreCounts

__all__ = [
    "DicePoint",
    "best_dice",
    "conformal_p_value",
    "greedy_dice",
    "healthy_threshold",
    "largest_p_value",
    "pooled_best_dice",
    "threshold_at_rate",
    "threshold_at_volume",
]


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
        InputError: when shapes differ, a score is not finite or the target is not binary.

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
        InputError: when shapes differ, a score is not finite, the target is not binary or `num_steps` is below 1.
    """
    if num_steps < 1:
        raise InputError(f"`num_steps` must be at least 1, got {num_steps}")
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


def healthy_threshold(scores_list: Sequence[ArrayLike], rate: float) -> float:
    """Find the lowest threshold that at most the share `rate` of the pooled healthy brain voxels reaches.

    Args:
        scores_list: one array per healthy volume, any shape: the scores of its brain voxels.
        rate: tolerated false positive rate, in (0, 1).

    Returns:
        A threshold t with mean(scores >= t) <= rate: the lowest of the scores that satisfies it. When even the highest
        score is too common (ties), the next float32 above it, where nothing is predicted.

    Raises:
        InputError: when there is no voxel, a score is not finite or the rate is out of range.
    """
    if not len(scores_list):
        raise InputError("`scores_list` must hold at least one volume, got none")
    return threshold_at_rate(ScoreCounts.count(np.concatenate([checked_scores(s).ravel() for s in scores_list])), rate)


def threshold_at_rate(counts: ScoreCounts, rate: float) -> float:
    """Find the lowest threshold of `counts.values` reached by at most the share `rate` of the non-lesion voxels.

    Raises:
        InputError: when there is no non-lesion voxel or the rate is not in (0, 1).
    """
    if not 0 < rate < 1:
        raise InputError(f"`rate` must be in (0, 1), got {rate}")
    total = int(counts.negatives.sum())
    if total == 0:
        raise InputError("`counts` must hold at least one healthy voxel, got none")
    reached = counts.negatives[::-1].cumsum()[::-1] / total
    allowed = np.flatnonzero(reached <= rate)
    if len(allowed):
        return float(counts.values[allowed[0]])
    return float(np.nextafter(np.float32(counts.values[-1]), np.float32(np.inf)))


def threshold_at_volume(
    counts: Sequence[ScoreCounts], voxel_ml: Sequence[float], *, median: float, p95: float
) -> float:
    """Find the lowest threshold that marks little in healthy scans: by the median scan and by the 95th percentile.

    Args:
        counts: of the brain's voxels, one a scan.
        voxel_ml: volume of a voxel of each scan, ml.
        median: largest volume that the threshold may mark in the median scan, ml.
        p95: largest volume that it may mark at the 95th percentile of the scans (interpolated), ml.

    Returns:
        The lowest of the scans' values at which both hold; the next float32 above the highest where none is enough.

    Raises:
        InputError: when there is no scan or a limit is not positive.
    """
    if not counts:
        raise InputError("`counts` must hold at least one scan, got none")
    if not 0 < median <= p95:
        raise InputError(f"`median` and `p95` must be 0 < median <= p95, got {median} and {p95}")
    totals = [np.append((c.positives + c.negatives)[::-1].cumsum()[::-1], 0) for c in counts]

    def marked(threshold: float) -> bool:
        volumes = [
            total[np.searchsorted(c.values, np.float32(threshold))] * ml
            for c, total, ml in zip(counts, totals, voxel_ml, strict=True)
        ]
        return bool(np.median(volumes) > median or np.quantile(volumes, 0.95) > p95)

    values = np.unique(np.concatenate([c.values for c in counts]))
    low, high = 0, len(values)  # the first value that marks little enough lies in [low, high]
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if marked(float(values[middle])) else (low, middle)
    if low < len(values):
        return float(values[low])
    return float(np.nextafter(np.float32(values[-1]), np.float32(np.inf)))


def conformal_p_value(score: float, healthy_scores: Sequence[float]) -> float:
    """Return the split-conformal p-value of a score against scores of healthy scans.

    p = (1 + #{healthy scores >= score}) / (n + 1). If the scan is as healthy as those scans, and exchangeable with
    them, p <= a happens in at most a share a of cases. It cannot be lower than 1 / (n + 1).

    Args:
        score: of the scan, higher is more anomalous.
        healthy_scores: of scans that neither trained the network nor chose its settings.

    Returns:
        A number in (0, 1].

    Raises:
        InputError: when there is no healthy score or a score is not finite.

    References:
        Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, doi:10.1007/b106715, section 2.2.

    Examples:
        >>> conformal_p_value(9.0, [1.0, 2.0, 3.0])
        0.25
    """
    if not len(healthy_scores):
        raise InputError("`healthy_scores` must hold at least one score, got none")
    if not all(math.isfinite(value) for value in (score, *healthy_scores)):
        raise InputError("scores must be finite, got NaN or an infinity")
    return (1 + sum(value >= score for value in healthy_scores)) / (len(healthy_scores) + 1)


def largest_p_value(score: float, groups: Mapping[str, Sequence[float]]) -> float:
    """Return the largest of the conformal p-values against several groups of healthy scans, such as scanners.

    A scan of an unknown scanner is exchangeable with none of the groups for certain. It counts as unusual only where it
    is unusual beside each of them.

    Args:
        score: of the scan, higher is more anomalous.
        groups: healthy scores by group, each as for `conformal_p_value`.

    Returns:
        A number in (0, 1]; not below 1 / (n + 1) of the smallest group.

    Raises:
        InputError: when there is no group, or as `conformal_p_value`.
    """
    if not groups:
        raise InputError("`groups` must hold at least one group of healthy scores, got none")
    return max(conformal_p_value(score, scores) for scores in groups.values())
