"""How a volume is laid out on a screen: radiological display, whatever way its voxels run."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["choose_slices", "radiological_slice", "to_ras"]


def to_ras(volume: ArrayLike, affine: ArrayLike | None) -> NDArray:
    """Flip and transpose a volume so that its axes run to the right, to the front and up (RAS+).

    Args:
        volume: [H, W, D].
        affine: [4, 4], voxel indices to RAS mm, as NIfTI and MONAI have it; None when the volume is RAS already.

    Returns:
        The same voxels in the nearest RAS order, without interpolation.
    """
    array = np.asarray(volume)
    if affine is None:
        return array
    return np.asarray(nib.orientations.apply_orientation(array, nib.io_orientation(np.asarray(affine))))


def radiological_slice(volume: ArrayLike, index: int) -> NDArray:
    """Return an axial slice of a RAS volume as rows and columns of a picture.

    The front of the head is up and the patient's right is on the left, as if seen from the feet.

    Args:
        volume: [H, W, D], RAS.
        index: position along D.

    Returns:
        [W, H], first row on top.
    """
    return np.asarray(volume)[:, :, index].T[::-1, ::-1]


def choose_slices(weight: ArrayLike, num_slices: int) -> list[int]:
    """Choose slices with much in them that are not all neighbours.

    The heaviest slice is taken first, then the heaviest that keeps a distance from those taken; the distance is a share
    of the extent of all non-empty slices and shrinks until enough are found.

    Args:
        weight: [D], for example the lesion area of each slice, at least 0.
        num_slices: how many to choose.

    Returns:
        At most `num_slices` positions, from the top of the head down; the middle slice when all are empty.

    Raises:
        ValueError: when `num_slices` is below 1.
    """
    if num_slices < 1:
        raise ValueError(f"`num_slices` must be at least 1, got {num_slices}")
    weights = np.asarray(weight, dtype=np.float64)
    filled = np.flatnonzero(weights > 0)
    if not len(filled):
        return [len(weights) // 2]
    heaviest_first = filled[np.argsort(-weights[filled], kind="stable")].tolist()
    for gap in range(max(1, len(filled) // (num_slices + 1)), 0, -1):
        chosen: list[int] = []
        for index in heaviest_first:
            if len(chosen) < num_slices and all(abs(index - other) >= gap for other in chosen):
                chosen.append(index)
        if len(chosen) == min(num_slices, len(filled)):
            break
    return sorted(chosen, reverse=True)
