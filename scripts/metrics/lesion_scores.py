"""Detection counted by lesion instead of by voxel."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label as connected_components

from scripts.metrics.checks import checked_mask

__all__ = ["LesionScores", "lesion_scores"]


class LesionScores(NamedTuple):
    """Counts and rates by connected component.

    Attributes:
        num_lesions: components of the target.
        num_detected: of those, how many hold at least one predicted voxel.
        num_predicted: components of the prediction.
        num_confirmed: of those, how many hold at least one lesion voxel.
        sensitivity: num_detected / num_lesions; NaN without a lesion.
        precision: num_confirmed / num_predicted; NaN without a predicted component.
        f1: harmonic mean of the two; 0 when nothing is predicted or confirmed, NaN without a lesion.
    """

    num_lesions: int
    num_detected: int
    num_predicted: int
    num_confirmed: int
    sensitivity: float
    precision: float
    f1: float


def lesion_scores(prediction: ArrayLike, target: ArrayLike) -> LesionScores:
    """Count the lesions found and the predicted components that are lesions.

    A component is a set of voxels joined by faces, edges or corners (26 neighbours in 3D). One voxel of overlap counts
    as found: lesions here are small, and how well a found lesion is outlined is what Dice says.

    Args:
        prediction: any shape of 1 to 3 axes, 0 or 1.
        target: same shape, 0 or 1.

    Raises:
        ValueError: when the shapes differ or a value is not 0 or 1.
    """
    predicted, lesion = checked_mask(prediction, name="prediction"), checked_mask(target)
    if predicted.shape != lesion.shape:
        raise ValueError(f"`prediction` and `target` must have the same shape, got {predicted.shape}, {lesion.shape}")
    num_lesions, num_detected = _components_meeting(lesion, predicted)
    num_predicted, num_confirmed = _components_meeting(predicted, lesion)
    sensitivity = num_detected / num_lesions if num_lesions else math.nan
    precision = num_confirmed / num_predicted if num_predicted else math.nan
    if not num_lesions:
        f1 = math.nan
    elif not num_confirmed:
        f1 = 0.0
    else:
        f1 = 2 * sensitivity * precision / (sensitivity + precision)
    return LesionScores(num_lesions, num_detected, num_predicted, num_confirmed, sensitivity, precision, f1)


def _components_meeting(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int]:
    """Return (components of `mask`, those of them that overlap `other`)."""
    labels, total = connected_components(mask, connectivity=mask.ndim, return_num=True)
    return int(total), len(np.unique(labels[mask & other]))
