"""Lesions matched one to one, as the panoptic quality does."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from monai.metrics import compute_panoptic_quality
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label as connected_components

from scripts.metrics.checks import checked_mask

__all__ = ["PanopticScores", "panoptic_scores"]


class PanopticScores(NamedTuple):
    """Scores over lesions that are matched one to one; NaN without a lesion.

    Attributes:
        f1: 2 matched / (lesions + predicted components), the recognition quality.
        quality: sum of the matches' IoU / the mean of lesions and predicted components, the panoptic quality.
    """

    f1: float
    quality: float


def panoptic_scores(prediction: ArrayLike, target: ArrayLike) -> PanopticScores:
    """Match connected components of prediction and target whose intersection over union is above 0.5.

    Stricter than `lesion_scores`: a lesion counts as found only if one component outlines it. Components are joined by
    faces, edges and corners. MONAI's `compute_panoptic_quality` does the matching; it gets the voxels of either mask
    and the predicted components that meet a lesion, because it makes a mask for each; the rest cannot match.

    Args:
        prediction: any shape of 1 to 3 axes, 0 or 1.
        target: same shape, 0 or 1.

    Raises:
        ValueError: when the shapes differ or a value is not 0 or 1.

    References:
        Kirillov et al., CVPR 2019, Panoptic Segmentation, doi:10.1109/CVPR.2019.00963.
    """
    predicted, lesion = checked_mask(prediction, name="prediction"), checked_mask(target)
    if predicted.shape != lesion.shape:
        raise ValueError(f"`prediction` and `target` must have the same shape, got {predicted.shape}, {lesion.shape}")
    lesions, num_lesions = connected_components(lesion, connectivity=lesion.ndim, return_num=True)
    components, num_components = connected_components(predicted, connectivity=predicted.ndim, return_num=True)
    if not num_lesions:
        return PanopticScores(math.nan, math.nan)
    meeting = np.unique(components[lesion & predicted])
    if not len(meeting):
        return PanopticScores(0.0, 0.0)
    used = np.isin(components, meeting) | lesion
    pred = np.where(np.isin(components[used], meeting), components[used], 0)
    matched, _, _, iou = compute_panoptic_quality(
        _instances(pred), _instances(lesions[used]), output_confusion_matrix=True
    ).tolist()
    mean = (num_lesions + num_components) / 2
    return PanopticScores(matched / mean, iou / mean)


def _instances(labels: NDArray[np.integer]) -> torch.Tensor:
    """Return numbered components as MONAI takes them."""
    return torch.from_numpy(labels.astype(np.int32))[None]
