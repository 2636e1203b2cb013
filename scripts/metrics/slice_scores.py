"""Detection of slices that hold a lesion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.metrics.arrays import checked_mask, checked_scores

__all__ = ["SliceScores", "slice_scores"]


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
        ValueError: when shapes differ or are not three-dimensional, a score is not finite or a mask is not binary.
    """
    volume, lesion = checked_scores(scores), checked_mask(target)
    brain = checked_mask(brain_mask, name="brain_mask")
    if not (volume.shape == lesion.shape == brain.shape and volume.ndim == 3):
        raise ValueError(
            "`scores`, `target` and `brain_mask` must have the same shape [H, W, D], got "
            f"{volume.shape}, {lesion.shape} and {brain.shape}"
        )
    position = np.flatnonzero(brain.any(axis=(0, 1)))
    inside = np.where(brain, volume, volume.dtype.type(-np.inf))
    lesion_slices = np.asarray(lesion.any(axis=(0, 1)))
    return SliceScores(position, inside.max(axis=(0, 1))[position], lesion_slices[position])
