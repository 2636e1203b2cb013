"""Thresholds that keep a chosen false positive rate on healthy brains; no lesion label is needed for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from scripts.metrics.arrays import checked_scores
from scripts.metrics.score_counts import ScoreCounts

__all__ = ["healthy_threshold", "threshold_at_rate"]


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
