"""How far the reconstruction is from the scan, in healthy and in anomalous tissue."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.metrics.arrays import checked_mask, checked_scores

__all__ = ["ReconstructionError", "reconstruction_error"]


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
        ValueError: when shapes differ, a value is not finite or a mask is not binary.
    """
    scan, reconstructed = checked_scores(image, name="image"), checked_scores(reconstruction, name="reconstruction")
    lesion, brain = checked_mask(target), checked_mask(brain_mask, name="brain_mask")
    shapes = [scan.shape, reconstructed.shape, lesion.shape, brain.shape]
    if len(set(shapes)) > 1:
        raise ValueError(f"`image`, `reconstruction`, `target` and `brain_mask` must have the same shape, got {shapes}")
    error = np.abs(scan.astype(np.float64) - reconstructed)
    healthy, anomalous = error[brain & ~lesion], error[brain & lesion]
    return ReconstructionError(_mean(healthy), _mean(anomalous), _mean(healthy**2), _mean(anomalous**2))


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean, NaN for no value."""
    return float(values.mean()) if values.size else math.nan
