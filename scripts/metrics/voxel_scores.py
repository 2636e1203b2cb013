"""How well a score separates lesion voxels from others, without any threshold."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from scripts.metrics.arrays import checked_pair
from scripts.metrics.score_counts import ScoreCounts

__all__ = ["VoxelScores", "pooled_precision_recall", "pooled_voxel_scores", "voxel_scores"]


class VoxelScores(NamedTuple):
    """Area under the precision-recall curve (average precision) and under the ROC curve, each in [0, 1] or NaN."""

    auprc: float
    auroc: float


def voxel_scores(scores: ArrayLike, target: ArrayLike) -> VoxelScores:
    """Compute the AUPRC and the AUROC of anomaly scores against a binary target.

    AUPRC is the average precision sum_n (R_n - R_{n-1}) P_n, without interpolation.

    Args:
        scores: any shape, higher is more anomalous.
        target: same shape, 1 inside lesions and 0 elsewhere.

    Returns:
        Both areas. Without a lesion voxel both are NaN; without any other voxel AUPRC is 1 and AUROC is NaN.

    Raises:
        ValueError: when shapes differ, a score is not finite or the target is not binary.

    Examples:
        >>> voxel_scores([0.1, 0.4, 0.8, 0.9], [0, 0, 1, 1]).auprc
        1.0
    """
    flat, lesion = checked_pair(scores, target)
    return _areas(lesion, flat, None)


def pooled_voxel_scores(counts: ScoreCounts) -> VoxelScores:
    """Compute AUPRC and AUROC of counted voxels; the same definition and NaN policy as `voxel_scores`."""
    return _areas(*_weighted_samples(counts))


def pooled_precision_recall(
    counts: ScoreCounts, *, num_points: int = 500
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the precision-recall curve of counted voxels, thinned to about `num_points` points.

    Every point belongs to a threshold at which something is predicted.

    Args:
        counts: voxels counted by score.
        num_points: how many points to keep, spread evenly over recall; the ends are always kept.

    Returns:
        (recall [N] ascending, precision [N]), float64 in [0, 1]; both empty when there is no lesion voxel.

    Raises:
        ValueError: when `num_points` is below 2.
    """
    if num_points < 2:
        raise ValueError(f"`num_points` must be at least 2, got {num_points}")
    if counts.num_positives == 0:
        return np.empty(0), np.empty(0)
    target, scores, weights = _weighted_samples(counts)
    precision, recall, _ = precision_recall_curve(target, scores, sample_weight=weights)
    # The last point is scikit-learn's own: no prediction, precision 1. It belongs to no threshold.
    recall, precision = recall[-2::-1], precision[-2::-1]
    nearest = np.searchsorted(recall, np.linspace(0, 1, num_points)).clip(0, len(recall) - 1)
    keep = np.unique(np.concatenate([[0], nearest, [len(recall) - 1]]))
    return recall[keep], precision[keep]


def _weighted_samples(counts: ScoreCounts) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Turn counts into (target, score, weight) samples as scikit-learn takes them."""
    target = np.repeat([True, False], len(counts.values))
    weights = np.concatenate([counts.positives, counts.negatives])
    used = weights > 0
    return target[used], np.tile(counts.values, 2)[used], weights[used]


def _areas(target: NDArray[np.bool_], scores: NDArray, weights: NDArray | None) -> VoxelScores:
    """Compute both areas, answering NaN for a class that is missing before scikit-learn warns about it."""
    if not target.any():
        return VoxelScores(math.nan, math.nan)
    auprc = float(average_precision_score(target, scores, sample_weight=weights))
    auroc = math.nan if target.all() else float(roc_auc_score(target, scores, sample_weight=weights))
    return VoxelScores(auprc, auroc)
