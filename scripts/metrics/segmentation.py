"""What a lesion mask gets right and wrong, by voxel and by lesion, and how well either side was reconstructed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_panoptic_quality
from numpy.typing import ArrayLike, NDArray
from scripts.errors import InputError
from scripts.metrics.score_counts import checked_mask, checked_scores
from skimage.measure import label as connected_components
from skimage.morphology import area_opening

__all__ = [
    "LesionScores",
    "Lesions",
    "ReconstructionError",
    "SegmentationScores",
    "SizeBin",
    "find_lesions",
    "lesion_recall",
    "lesion_scores",
    "reconstruction_error",
    "segmentation_scores",
    "size_bins",
    "without_small_peaks",
]


class LesionScores(NamedTuple):
    """Scores by connected component; all but the precision are NaN without a lesion.

    Attributes:
        sensitivity: share of the lesions that hold at least one predicted voxel.
        precision: share of the predicted components that hold at least one lesion voxel; NaN without a component.
        f1: harmonic mean of the two; 0 when nothing is predicted or confirmed.
        f1_iou50: 2 matched / (lesions + predicted components), the recognition quality: matched one to one, with an
            intersection over union above 0.5.
        panoptic_quality: sum of the matches' IoU / the mean of lesions and predicted components.
    """

    sensitivity: float
    precision: float
    f1: float
    f1_iou50: float
    panoptic_quality: float


def lesion_scores(prediction: ArrayLike, target: ArrayLike) -> LesionScores:
    """Compare the lesions with the predicted components, by one voxel of overlap and by matching.

    A component is a set of voxels joined by faces, edges or corners (26 neighbours in 3D). One voxel of overlap counts
    as found: lesions here are small, and how well a found lesion is outlined is what Dice says. Matching is stricter:
    there one component has to outline the lesion. MONAI's `compute_panoptic_quality` does it; it gets the voxels of
    either mask and the predicted components that meet a lesion, because it makes a mask for each; the rest cannot
    match.

    Args:
        prediction: any shape of 1 to 3 axes, 0 or 1.
        target: same shape, 0 or 1.

    Raises:
        InputError: when the shapes differ or a value is not 0 or 1.

    References:
        Kirillov et al., CVPR 2019, Panoptic Segmentation, doi:10.1109/CVPR.2019.00963.

    Examples:
        >>> lesion_scores([1, 1, 0, 0, 1], [0, 1, 0, 0, 0])
        LesionScores(sensitivity=1.0, precision=0.5, f1=0.6666666666666666, f1_iou50=0.0, panoptic_quality=0.0)
    """
    predicted, lesion = checked_mask(prediction, name="prediction"), checked_mask(target)
    if predicted.shape != lesion.shape:
        raise InputError(f"`prediction` and `target` must have the same shape, got {predicted.shape}, {lesion.shape}")
    lesions, num_lesions = connected_components(lesion, connectivity=lesion.ndim, return_num=True)
    components, num_components = connected_components(predicted, connectivity=predicted.ndim, return_num=True)
    meeting = np.unique(components[lesion & predicted])
    precision = len(meeting) / num_components if num_components else math.nan
    if not num_lesions:
        return LesionScores(math.nan, precision, math.nan, math.nan, math.nan)
    if not len(meeting):
        return LesionScores(0.0, precision, 0.0, 0.0, 0.0)
    sensitivity = len(np.unique(lesions[lesion & predicted])) / num_lesions
    used = np.isin(components, meeting) | lesion
    pred = np.where(np.isin(components[used], meeting), components[used], 0)
    matched, _, _, iou = compute_panoptic_quality(
        _instances(pred), _instances(lesions[used]), output_confusion_matrix=True
    ).tolist()
    mean = (num_lesions + num_components) / 2
    f1 = 2 * sensitivity * precision / (sensitivity + precision)
    return LesionScores(sensitivity, precision, f1, matched / mean, iou / mean)


def _instances(labels: NDArray[np.integer]) -> torch.Tensor:
    """Return numbered components as MONAI takes them."""
    return torch.from_numpy(labels.astype(np.int32))[None]


class Lesions(NamedTuple):
    """The lesions of a target: components joined by faces, edges or corners (26 neighbours in 3D).

    Attributes:
        labels: int [H, W, D], 0 outside, 1 to L inside the lesions.
        volume_ml: float64 [L].
    """

    labels: NDArray[np.integer]
    volume_ml: NDArray[np.float64]


class SizeBin(NamedTuple):
    """Volumes from `low_ml` (included) to `high_ml` (not included)."""

    low_ml: float
    high_ml: float


def find_lesions(target: ArrayLike, *, spacing_mm: Sequence[float]) -> Lesions:
    """Find the lesions of a target and their volumes.

    Args:
        target: [H, W, D], 0 or 1.
        spacing_mm: voxel edges along H, W, D in mm.

    Raises:
        InputError: when a value is not 0 or 1.
    """
    mask = checked_mask(target)
    labels = connected_components(mask, connectivity=mask.ndim)
    voxels = np.bincount(labels.ravel())[1:]
    return Lesions(labels, voxels * math.prod(spacing_mm) / 1000)


def without_small_peaks(scores: NDArray[np.floating], *, voxel_ml: float, min_volume_ml: float) -> NDArray[np.floating]:
    """Lower an anomaly map's peaks until, at any threshold, every region that reaches it has a least volume.

    Thresholding the result marks just what thresholding the map and leaving out small regions marks, for all thresholds
    at once (an area opening).

    Args:
        scores: [H, W, D]; voxels that share a face, edge or corner belong together.
        voxel_ml: volume of a voxel, ml.
        min_volume_ml: 0 leaves the map as it is.

    Returns:
        [H, W, D], at most `scores`.

    References:
        Vincent, Grayscale area openings and closings, 1993; `skimage.morphology.area_opening`.
    """
    voxels = math.ceil(min_volume_ml / voxel_ml - 1e-3)
    return scores if voxels <= 1 else area_opening(scores, area_threshold=voxels, connectivity=scores.ndim)


def lesion_recall(lesions: Lesions, prediction: ArrayLike) -> NDArray[np.float64]:
    """Return the share of each lesion's voxels that is predicted, float64 [L] in [0, 1]; above 0 it is found.

    Raises:
        InputError: when the prediction has another shape than the lesions, or a value is not 0 or 1.
    """
    predicted = checked_mask(prediction, name="prediction")
    if predicted.shape != lesions.labels.shape:
        raise InputError(f"`prediction` must have the lesions' shape {lesions.labels.shape}, got {predicted.shape}")
    length = len(lesions.volume_ml) + 1
    hit = np.bincount(lesions.labels[predicted], minlength=length)[1:]
    return hit / np.bincount(lesions.labels.ravel(), minlength=length)[1:]


def size_bins(edges_ml: Sequence[float]) -> list[SizeBin]:
    """Return the bins between 0, the edges and infinity.

    Raises:
        InputError: when the edges are not positive and rising.
    """
    edges = [0.0, *(float(edge) for edge in edges_ml), math.inf]
    if any(low >= high for low, high in pairwise(edges)):
        raise InputError(f"the edges of volume bins must be positive and rising, got {list(edges_ml)}")
    return [SizeBin(low, high) for low, high in pairwise(edges)]


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
        InputError: when the shapes differ, are not three-dimensional, a value is not 0 or 1 or a spacing is not
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
    by_lesion = lesion_scores(predicted, lesion)
    return SegmentationScores(
        dice=2 * true_positives / (num_predicted + num_lesion) if num_lesion else math.nan,
        precision=true_positives / num_predicted if num_predicted else math.nan,
        recall=true_positives / num_lesion if num_lesion else math.nan,
        hausdorff_mm=hausdorff,
        hausdorff95_mm=hausdorff95,
        lesion_sensitivity=by_lesion.sensitivity,
        lesion_f1=by_lesion.f1,
        lesion_f1_iou50=by_lesion.f1_iou50,
        panoptic_quality=by_lesion.panoptic_quality,
        predicted_ml=num_predicted * voxel_ml,
        false_positive_ml=(num_predicted - true_positives) * voxel_ml,
    )


def _check_geometry(predicted: NDArray, lesion: NDArray, spacing_mm: Sequence[float]) -> None:
    """Refuse masks of different or wrong shape and impossible spacings."""
    if predicted.shape != lesion.shape or predicted.ndim != 3:
        raise InputError(
            f"`prediction` and `target` must have the same shape [H, W, D], got {predicted.shape} and {lesion.shape}"
        )
    if len(spacing_mm) != 3 or not all(edge > 0 for edge in spacing_mm):
        raise InputError(f"`spacing_mm` must be three positive lengths, got {tuple(spacing_mm)}")


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


class ReconstructionError(NamedTuple):
    """Mean errors over brain voxels, in units of the image (l1) and its square (l2); NaN where there is no voxel.

    Attributes:
        l1_error_healthy: mean |image - reconstruction| outside lesions.
        l1_error_anomalous: the same inside lesions.
        l2_error_healthy: mean (image - reconstruction)^2 outside lesions.
        l2_error_anomalous: the same inside lesions.
    """

    l1_error_healthy: float
    l1_error_anomalous: float
    l2_error_healthy: float
    l2_error_anomalous: float


def reconstruction_error(
    image: ArrayLike, reconstruction: ArrayLike, target: ArrayLike, *, brain_mask: ArrayLike
) -> ReconstructionError:
    """Compute mean absolute and mean squared reconstruction errors inside the brain, apart for lesions and the rest.

    A model of healthy anatomy should be near the scan in healthy tissue and far from it in lesions.

    Args:
        image: any shape, the scan.
        reconstruction: same shape and intensity scale.
        target: same shape, 1 inside lesions and 0 elsewhere.
        brain_mask: same shape, 1 inside the brain and 0 elsewhere.

    Raises:
        InputError: when shapes differ, a value is not finite or a mask is not binary.
    """
    scan, reconstructed = checked_scores(image, name="image"), checked_scores(reconstruction, name="reconstruction")
    lesion, brain = checked_mask(target), checked_mask(brain_mask, name="brain_mask")
    shapes = [scan.shape, reconstructed.shape, lesion.shape, brain.shape]
    if len(set(shapes)) > 1:
        raise InputError(f"`image`, `reconstruction`, `target` and `brain_mask` must have the same shape, got {shapes}")
    error = np.abs(scan.astype(np.float64) - reconstructed)
    healthy, anomalous = error[brain & ~lesion], error[brain & lesion]
    return ReconstructionError(_mean(healthy), _mean(anomalous), _mean(healthy**2), _mean(anomalous**2))


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean, NaN for no value."""
    return float(values.mean()) if values.size else math.nan
