"""Exact counts of any number of voxels in memory that grows with the lesion voxels alone.

AUPRC, AUROC and the best Dice depend on how the other voxels rank among the lesion voxels, not on their scores: between
two neighbouring lesion scores it is enough to know how many others there are. One pass over the data collects the
distinct scores of lesion voxels, a second one counts the others around them, piece by piece. Nothing is rounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.metrics.checks import checked_pair, checked_scores
from scripts.metrics.score_counts import ScoreCounts

__all__ = ["compact_counts", "count_around", "counts_from_around", "lesion_counts"]

_PIECE = 1 << 20  # voxels sorted at a time: their working memory is about 20 MB


def compact_counts(scores: ArrayLike, target: ArrayLike) -> ScoreCounts:
    """Count voxels as `ScoreCounts.count` does, but with one entry for all others between two lesion scores.

    Average precision, AUROC, best Dice with its threshold and precision at each recall are exactly those of the voxels.
    O(N log N) time; memory for the result and one piece of the scores.

    Args:
        scores: any shape, higher is more anomalous.
        target: same shape, 1 inside lesions and 0 elsewhere.

    Returns:
        Counts at the L distinct lesion scores, and at no more than L + 1 places between, below and above them.

    Raises:
        ValueError: when shapes differ, a score is not finite or the target is not binary.
    """
    flat, lesion = checked_pair(scores, target)
    positives = lesion_counts(flat[lesion])
    return counts_from_around(positives, count_around(positives, flat[~lesion]))


def lesion_counts(scores: ArrayLike) -> ScoreCounts:
    """Count lesion voxels by score; counts of several cases can be added up."""
    flat = checked_scores(scores).ravel()
    return ScoreCounts.count(flat, np.ones(flat.shape, np.bool_))


def count_around(positives: ScoreCounts, scores: ArrayLike) -> NDArray[np.int64]:
    """Count the voxels that are no lesion below, at and between the L distinct lesion scores.

    Args:
        positives: the lesion voxels.
        scores: any shape, the scores of the other voxels.

    Returns:
        int64 [2 L + 1]: voxels below the lowest lesion score, at it, between it and the next one, at that one, and so
        on to those above the highest. The arrays of several cases can be added up.

    Raises:
        ValueError: when a score is not finite.
    """
    flat = checked_scores(scores).ravel()
    values = positives.values
    if flat.dtype == np.float32 and np.array_equal(values.astype(np.float32), values):
        values = values.astype(np.float32)  # the search would turn every piece into float64 otherwise
    around = np.zeros(2 * len(values) + 1, np.int64)
    for start in range(0, flat.size, _PIECE):
        piece = np.sort(flat[start : start + _PIECE])
        place = np.searchsorted(values, piece)
        inside = place < len(values)
        at_score = np.zeros(piece.shape, np.int64)
        at_score[inside] = values[place[inside]] == piece[inside]
        around += np.bincount(2 * place + at_score, minlength=len(around))
    return around


def counts_from_around(positives: ScoreCounts, around: NDArray[np.int64]) -> ScoreCounts:
    """Put lesion voxels and the others around them together.

    The others between two lesion scores get the next float64 above the lower one, which lies between them too.

    Args:
        positives: the lesion voxels, by L distinct scores.
        around: [2 L + 1] of `count_around` for the same lesion voxels.

    Raises:
        ValueError: when `around` has another length.
    """
    values = positives.values
    if around.shape != (2 * len(values) + 1,):
        raise ValueError(f"`around` must have shape ({2 * len(values) + 1},), got {around.shape}")
    if not len(values):
        # Without a lesion score there is no order to keep.
        total = int(around[0])
        return ScoreCounts.empty().with_zeros(positives=0, negatives=total)
    places = np.empty(len(around))
    places[0] = np.nextafter(values[0], -np.inf)
    places[1::2] = values
    places[2::2] = np.nextafter(values, np.inf)
    lesions = np.zeros(len(around), np.int64)
    lesions[1::2] = positives.positives
    used = (lesions > 0) | (around > 0)
    return ScoreCounts(places[used], lesions[used], around[used])
