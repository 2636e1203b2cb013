"""Thresholds and what they say: the best Dice, a chosen rate on healthy brains, the rank among healthy scans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.metrics.score_counts import ScoreCounts

__all__ = [
    "DicePoint",
    "conformal_p_value",
    "largest_p_value",
    "pooled_best_dice",
    "threshold_at_rate",
    "threshold_at_volume",
]


class DicePoint(NamedTuple):
    """A Dice in [0, 1] and the threshold that gives it: voxels with `score >= threshold` are predicted."""

    dice: float
    threshold: float


def pooled_best_dice(counts: ScoreCounts) -> DicePoint:
    """Find the threshold of the highest Dice exactly, over all thresholds `counts.values`.

    Dice changes only where the threshold crosses a score, so the distinct scores are all the candidates there are:
    cumulative sums of lesion and other voxels per score give 2 TP / (predicted + lesion) at each. Of thresholds with
    equal Dice the highest is returned, the one that predicts the fewest voxels.

    Args:
        counts: voxels counted by score.

    Returns:
        The best Dice and its threshold, which is one of the scores; (NaN, NaN) when there is no lesion voxel.

    Examples:
        >>> pooled_best_dice(ScoreCounts.count([0.1, 0.4, 0.8, 0.9], [0, 0, 1, 1]))
        DicePoint(dice=1.0, threshold=0.8)
    """
    if counts.num_positives == 0:
        return DicePoint(math.nan, math.nan)
    true_positives, predicted = counts.at_or_above()
    dice = 2 * true_positives / (predicted + counts.num_positives)
    best = len(dice) - 1 - int(np.argmax(dice[::-1]))
    return DicePoint(float(dice[best]), float(counts.values[best]))


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
