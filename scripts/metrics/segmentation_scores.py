"""What a lesion mask gets right and wrong: overlap, surface distance in mm, false positive volume in ml."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from numpy.typing import ArrayLike, NDArray

from scripts.metrics.arrays import checked_mask
from scripts.metrics.lesions import lesion_scores, panoptic_scores

__all__ = ["SegmentationScores", "segmentation_scores"]


class SegmentationScores(NamedTuple):
    """All metrics of one predicted mask.

    Attributes:
        dice: 2 TP / (predicted + lesion); NaN without a lesion voxel, whatever was predicted.
        precision: TP / predicted; NaN when nothing is predicted.
        recall: TP / lesion; NaN without a lesion voxel.
        hausdorff_mm: largest distance from a surface voxel of either mask to the other mask's surface, in mm;
            NaN when either mask is empty.
        hausdorff95_mm: as above with the 95th percentile of each direction for its maximum.
        lesion_sensitivity: share of lesions (26-connected components) that the prediction overlaps.
        lesion_f1: harmonic mean of that share and of the share of predicted components that overlap a lesion.
        lesion_f1_iou50: F1 of lesions matched one to one with an IoU above 0.5.
        panoptic_quality: the same, with each match weighted by its IoU.
        predicted_ml: volume of the prediction, in ml.
        false_positive_ml: volume of the prediction outside the target, in ml.
    """

    dice: float
    precision: float
    recall: float
    hausdorff_mm: float
    hausdorff95_mm: float
    lesion_sensitivity: float
    lesion_f1: float
    lesion_f1_iou50: float
    panoptic_quality: float
    predicted_ml: float
    false_positive_ml: float


def segmentation_scores(
    prediction: ArrayLike, target: ArrayLike, *, spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)
) -> SegmentationScores:
    """Compare a predicted mask with the true one.

    Args:
        prediction: [H, W, D], 0 or 1.
        target: [H, W, D], 0 or 1; all zero for a healthy scan.
        spacing_mm: voxel edges along H, W, D in mm.

    Returns:
        The metrics; `SegmentationScores` says which are NaN when a mask is empty.

    Raises:
        ValueError: when the shapes differ, are not three-dimensional, a value is not 0 or 1 or a spacing is not
            positive.

    References:
        Hausdorff distance as in `monai.metrics.compute_hausdorff_distance`: symmetric, between mask edges.
    """
    predicted, lesion = checked_mask(prediction, name="prediction"), checked_mask(target)
    _check_geometry(predicted, lesion, spacing_mm)
    num_predicted, num_lesion = int(predicted.sum()), int(lesion.sum())
    true_positives = int((predicted & lesion).sum())
    voxel_ml = math.prod(spacing_mm) / 1000
    hausdorff, hausdorff95 = _hausdorff_mm(predicted, lesion, spacing_mm)
    by_lesion, matched = lesion_scores(predicted, lesion), panoptic_scores(predicted, lesion)
    return SegmentationScores(
        dice=2 * true_positives / (num_predicted + num_lesion) if num_lesion else math.nan,
        precision=true_positives / num_predicted if num_predicted else math.nan,
        recall=true_positives / num_lesion if num_lesion else math.nan,
        hausdorff_mm=hausdorff,
        hausdorff95_mm=hausdorff95,
        lesion_sensitivity=by_lesion.sensitivity,
        lesion_f1=by_lesion.f1,
        lesion_f1_iou50=matched.f1,
        panoptic_quality=matched.quality,
        predicted_ml=num_predicted * voxel_ml,
        false_positive_ml=(num_predicted - true_positives) * voxel_ml,
    )


def _check_geometry(predicted: NDArray, lesion: NDArray, spacing_mm: Sequence[float]) -> None:
    """Refuse masks of different or wrong shape and impossible spacings."""
    if predicted.shape != lesion.shape or predicted.ndim != 3:
        raise ValueError(
            f"`prediction` and `target` must have the same shape [H, W, D], got {predicted.shape} and {lesion.shape}"
        )
    if len(spacing_mm) != 3 or not all(edge > 0 for edge in spacing_mm):
        raise ValueError(f"`spacing_mm` must be three positive lengths, got {tuple(spacing_mm)}")


def _hausdorff_mm(
    predicted: NDArray[np.bool_], lesion: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[float, float]:
    """Return the Hausdorff distance and its 95th percentile form in mm, NaN when a mask is empty."""
    if not (predicted.any() and lesion.any()):
        return math.nan, math.nan
    y_pred, y = (torch.from_numpy(mask)[None, None] for mask in (predicted, lesion))
    spacing = [float(edge) for edge in spacing_mm]
    full, robust = (
        float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=percentile, spacing=spacing))
        for percentile in (None, 95)
    )
    return full, robust
