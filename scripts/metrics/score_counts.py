"""Voxels counted at every distinct score, and what follows without a threshold: AUPRC and AUROC, by slice as well."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scripts.errors import InputError
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

__all__ = [
    "POOLED_MANTISSA_BITS",
    "ScoreCounts",
    "SliceScores",
    "VoxelScores",
    "checked_mask",
    "checked_pair",
    "checked_scores",
    "count_around",
    "counts_from_around",
    "lesion_counts",
    "pooled_precision_recall",
    "pooled_voxel_scores",
    "slice_scores",
    "voxel_scores",
]

POOLED_MANTISSA_BITS = 14  # of scores that are counted over many volumes together
_FLOAT32_MANTISSA_BITS = 23


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """Hold, for each distinct score, how many lesion voxels and how many other voxels have it.

    Attributes:
        values: float64 [V], distinct scores in ascending order.
        positives: int64 [V], lesion voxels with that score.
        negatives: int64 [V], other voxels with that score.
    """

    values: NDArray[np.float64]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]

    @classmethod
    def empty(cls) -> ScoreCounts:
        """Return counts of no voxel at all, the neutral element of `+`."""
        return cls(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def count(
        cls, scores: ArrayLike, target: ArrayLike | None = None, *, mantissa_bits: int | None = None
    ) -> ScoreCounts:
        """Count voxels by score.

        Args:
            scores: any shape, higher is more anomalous.
            target: same shape, 0 or 1; without it no voxel is a lesion.
            mantissa_bits: None counts every distinct score exactly. A number rounds scores down to float32 with that
                many bits of mantissa first: 14 leaves 16,384 scores an octave (6e-5 relative), so that counts of many
                volumes stay small. Counts at a threshold on this grid are exact all the same, because
                rounding down never carries a score across it.

        Raises:
            InputError: when shapes differ, a score is not finite, the target is not binary or `mantissa_bits` is not
                in 0..23.
        """
        flat = checked_scores(scores).ravel()
        lesion = np.zeros(flat.shape, np.bool_) if target is None else checked_pair(scores, target)[1]
        if mantissa_bits is not None:
            flat = _rounded_down(flat, mantissa_bits)
        positive_values, positives = np.unique(flat[lesion], return_counts=True)
        negative_values, negatives = np.unique(flat[~lesion], return_counts=True)
        none = np.zeros(1, np.int64)
        return cls(
            *_merge(
                np.concatenate([positive_values, negative_values]).astype(np.float64),
                np.concatenate([positives, none.repeat(len(negatives))]),
                np.concatenate([none.repeat(len(positives)), negatives]),
            )
        )

    @classmethod
    def total(cls, parts: Iterable[ScoreCounts]) -> ScoreCounts:
        """Return the counts of all sets of voxels together, with one sort over them all."""
        listed = [cls.empty(), *parts]
        return cls(
            *_merge(
                np.concatenate([part.values for part in listed]),
                np.concatenate([part.positives for part in listed]),
                np.concatenate([part.negatives for part in listed]),
            )
        )

    def __add__(self, other: ScoreCounts) -> ScoreCounts:
        """Return the counts of both sets of voxels together."""
        return ScoreCounts.total([self, other])

    def with_zeros(self, *, positives: int, negatives: int) -> ScoreCounts:
        """Return the counts with voxels of score zero added, such as those outside the brain."""
        if positives == negatives == 0:
            return self
        zeros = ScoreCounts(np.zeros(1), np.array([positives], np.int64), np.array([negatives], np.int64))
        return self + zeros

    @property
    def num_positives(self) -> int:
        """Number of lesion voxels."""
        return int(self.positives.sum())

    @property
    def num_voxels(self) -> int:
        """Number of all voxels."""
        return int(self.positives.sum() + self.negatives.sum())

    def at_or_above(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (true positives [V], predicted voxels [V]) when each of `values` is the threshold."""
        true_positives = self.positives[::-1].cumsum()[::-1]
        predicted = (self.positives + self.negatives)[::-1].cumsum()[::-1]
        return true_positives, predicted


def _merge(
    values: NDArray[np.float64], positives: NDArray[np.int64], negatives: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort by value and add up the counts of equal values."""
    if not len(values):
        return values, positives, negatives
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[starts], np.add.reduceat(positives[order], starts), np.add.reduceat(negatives[order], starts)


def _rounded_down(scores: NDArray[np.floating], mantissa_bits: int) -> NDArray[np.float32]:
    """Round scores towards minus infinity to float32 numbers of `mantissa_bits` bits of mantissa."""
    if not 0 <= mantissa_bits <= _FLOAT32_MANTISSA_BITS:
        raise InputError(f"`mantissa_bits` must be in 0..{_FLOAT32_MANTISSA_BITS}, got {mantissa_bits}")
    single = checked_scores(scores.astype(np.float32), name="scores as float32")
    dropped = np.uint32((1 << (_FLOAT32_MANTISSA_BITS - mantissa_bits)) - 1)
    # Clearing bits rounds towards zero; a negative number is first carried up to its next coarser magnitude.
    bits = single.view(np.uint32) + np.where(single < 0, dropped, np.uint32(0))
    return (bits & ~dropped).view(np.float32) + np.float32(0)  # adding zero turns -0 into 0


_PIECE = 1 << 20  # voxels sorted at a time: their working memory is about 20 MB


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
        InputError: when a score is not finite.
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
        InputError: when `around` has another length.
    """
    values = positives.values
    if around.shape != (2 * len(values) + 1,):
        raise InputError(f"`around` must have shape ({2 * len(values) + 1},), got {around.shape}")
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
        InputError: when shapes differ, a score is not finite or the target is not binary.

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
        InputError: when `num_points` is below 2.
    """
    if num_points < 2:
        raise InputError(f"`num_points` must be at least 2, got {num_points}")
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


class SliceScores(NamedTuple):
    """One entry per axial slice that holds brain.

    Attributes:
        position: int64 [S], the slice's position along the last axis.
        score: [S], maximum of the map over the slice's brain voxels, in the map's own dtype and unit.
        has_lesion: bool [S], whether any voxel of the slice is a lesion.
    """

    position: NDArray[np.int64]
    score: NDArray[np.floating]
    has_lesion: NDArray[np.bool_]


def slice_scores(scores: ArrayLike, target: ArrayLike, *, brain_mask: ArrayLike) -> SliceScores:
    """Reduce a map to one score per axial slice; hand the result's arrays to `voxel_scores` for AUPRC and AUROC.

    A slice's score is the maximum over its brain voxels, since a lesion may be a few voxels of thousands; slices
    without brain are left out.

    Args:
        scores: [H, W, D], higher is more anomalous; axial slices along D.
        target: [H, W, D], 1 inside lesions and 0 elsewhere.
        brain_mask: [H, W, D], 1 inside the brain and 0 elsewhere.

    Raises:
        InputError: when shapes differ or are not three-dimensional, a score is not finite or a mask is not binary.
    """
    volume, lesion = checked_scores(scores), checked_mask(target)
    brain = checked_mask(brain_mask, name="brain_mask")
    if not (volume.shape == lesion.shape == brain.shape and volume.ndim == 3):
        raise InputError(
            "`scores`, `target` and `brain_mask` must have the same shape [H, W, D], got "
            f"{volume.shape}, {lesion.shape} and {brain.shape}"
        )
    position = np.flatnonzero(brain.any(axis=(0, 1)))
    inside = np.where(brain, volume, volume.dtype.type(-np.inf))
    lesion_slices = np.asarray(lesion.any(axis=(0, 1)))
    return SliceScores(position, inside.max(axis=(0, 1))[position], lesion_slices[position])


def checked_scores(scores: ArrayLike, *, name: str = "scores") -> NDArray[np.floating]:
    """Return `scores` as a floating array after checking that every value is finite.

    Args:
        scores: any shape and real dtype; the dtype is kept when it is a floating one, else it becomes float64.
        name: the argument's name in the error message.

    Raises:
        InputError: when a value is NaN or infinite.
    """
    array = np.asarray(scores)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise InputError(f"`{name}` must be finite, got {bad} NaN or infinite values of {array.size}")
    return array


def checked_mask(mask: ArrayLike, *, name: str = "target") -> NDArray[np.bool_]:
    """Return `mask` as a boolean array after checking that it holds nothing but 0 and 1.

    Raises:
        InputError: when another value is in it.
    """
    array = np.asarray(mask)
    if array.dtype == np.bool_:
        return array
    if not np.all((array == 0) | (array == 1)):
        other = np.unique(array[(array != 0) & (array != 1)])[:3].tolist()
        raise InputError(f"`{name}` must hold only 0 and 1, got {other}")
    return array.astype(np.bool_)


def checked_pair(scores: ArrayLike, target: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return scores and target flattened, after checking values and that their shapes agree.

    Raises:
        InputError: when the shapes differ, a score is not finite or the target is not binary.
    """
    score_array, target_array = checked_scores(scores), checked_mask(target)
    if score_array.shape != target_array.shape:
        raise InputError(
            f"`scores` and `target` must have the same shape, got {score_array.shape} and {target_array.shape}"
        )
    return score_array.ravel(), target_array.ravel()
