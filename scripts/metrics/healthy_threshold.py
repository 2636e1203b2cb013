"""Thresholds that keep a chosen false positive rate on healthy brains; no lesion label is needed for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from scripts.metrics.arrays import checked_scores
from scripts.metrics.score_counts import ScoreCounts

__all__ = ["healthy_threshold", "threshold_at_rate", "threshold_at_volume"]


def healthy_threshold(scores_list: Sequence[ArrayLike], rate: float) -> float:
    """Find the lowest threshold that at most the share `rate` of the pooled healthy brain voxels reaches.

    Args:
        scores_list: one array per healthy volume, any shape: the scores of its brain voxels.
        rate: tolerated false positive rate, in (0, 1).

    Returns:
        A threshold t with mean(scores >= t) <= rate: the lowest of the scores that satisfies it. When even the highest
        score is too common (ties), the next float32 above it, where nothing is predicted.

    Raises:
        ValueError: when there is no voxel, a score is not finite or the rate is out of range.
    """
    if not len(scores_list):
        raise ValueError("`scores_list` must hold at least one volume, got none")
    return threshold_at_rate(ScoreCounts.count(np.concatenate([checked_scores(s).ravel() for s in scores_list])), rate)


def threshold_at_rate(counts: ScoreCounts, rate: float) -> float:
    """Find the lowest threshold of `counts.values` reached by at most the share `rate` of the non-lesion voxels.

    Raises:
        ValueError: when there is no non-lesion voxel or the rate is not in (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"`rate` must be in (0, 1), got {rate}")
    total = int(counts.negatives.sum())
    if total == 0:
        raise ValueError("`counts` must hold at least one healthy voxel, got none")
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
        ValueError: when there is no scan or a limit is not positive.
    """
    if not counts:
        raise ValueError("`counts` must hold at least one scan, got none")
    if not 0 < median <= p95:
        raise ValueError(f"`median` and `p95` must be 0 < median <= p95, got {median} and {p95}")
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
