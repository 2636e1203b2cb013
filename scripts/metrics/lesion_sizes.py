"""Detection of single lesions, by their volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label as connected_components

from scripts.metrics.checks import checked_mask

__all__ = ["Lesions", "SizeBin", "find_lesions", "lesion_recall", "size_bins"]


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
        ValueError: when a value is not 0 or 1.
    """
    mask = checked_mask(target)
    labels = connected_components(mask, connectivity=mask.ndim)
    voxels = np.bincount(labels.ravel())[1:]
    return Lesions(labels, voxels * math.prod(spacing_mm) / 1000)


def lesion_recall(lesions: Lesions, prediction: ArrayLike) -> NDArray[np.float64]:
    """Return the share of each lesion's voxels that is predicted, float64 [L] in [0, 1]; above 0 it is found.

    Raises:
        ValueError: when the prediction has another shape than the lesions, or a value is not 0 or 1.
    """
    predicted = checked_mask(prediction, name="prediction")
    if predicted.shape != lesions.labels.shape:
        raise ValueError(f"`prediction` must have the lesions' shape {lesions.labels.shape}, got {predicted.shape}")
    length = len(lesions.volume_ml) + 1
    hit = np.bincount(lesions.labels[predicted], minlength=length)[1:]
    return hit / np.bincount(lesions.labels.ravel(), minlength=length)[1:]


def size_bins(edges_ml: Sequence[float]) -> list[SizeBin]:
    """Return the bins between 0, the edges and infinity.

    Raises:
        ValueError: when the edges are not positive and rising.
    """
    edges = [0.0, *(float(edge) for edge in edges_ml), math.inf]
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"the edges of volume bins must be positive and rising, got {list(edges_ml)}")
    return [SizeBin(low, high) for low, high in pairwise(edges)]
