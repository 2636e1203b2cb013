"""Tell the foreground of a scan from its background, and which scans could be skull-stripped already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.scans.intensity import background_value

__all__ = ["Examined", "examine", "find_foreground", "volume_ml"]

MIN_BACKGROUND_SHARE = 0.25  # of all voxels; a brain alone fills less than half of the tightest box around it
PLAUSIBLE_ML = (500.0, 2400.0)  # of a brain, from a small child's to one brought to the template (2.1 l)
_RINGING = 0.01  # of the 99th percentile: what interpolation leaves around a stripped brain
_SPECK = 0.01  # of the largest component


@dataclass(frozen=True)
class Examined:
    """What background and foreground tell about a scan.

    Attributes:
        may_be_stripped: whether the scan could be skull-stripped; one that could not is a head.
        background: the value of its constant background, or None.
        foreground: [H, W, D], the voxels that differ from it, holes filled; all of them where there is none.
    """

    may_be_stripped: bool
    background: float | None
    foreground: NDArray[np.bool_]


def volume_ml(mask: NDArray, affine: NDArray) -> float:
    """Return the volume of a mask in ml; `affine` is voxel to world, mm."""
    return float(np.count_nonzero(mask) * abs(np.linalg.det(affine[:3, :3])) / 1000)


def find_foreground(volume: NDArray, background: float) -> NDArray[np.bool_]:
    """Return the voxels that differ from the background by more than interpolation leaves, with their holes filled.

    Args:
        volume: [H, W, D].
        background: from `background_value`.

    Returns:
        [H, W, D]; components under 1 % of the largest are left out.
    """
    distance = np.abs(volume - background)
    differs = distance > 0
    if not differs.any():
        return differs
    differs = distance > _RINGING * np.percentile(distance[differs][::7], 99)
    box = ndimage.find_objects(differs.view(np.uint8))[0]
    labels, count = ndimage.label(differs[box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = (sizes >= _SPECK * sizes.max()) & (sizes > 0)
    result = np.zeros(volume.shape, dtype=bool)
    result[box] = ndimage.binary_fill_holes(kept[labels])
    return result


def examine(volume: NDArray, affine: NDArray) -> Examined:
    """Judge from background and foreground alone whether a scan could be skull-stripped.

    It could not where the background is not constant, or the foreground too large or too small for a brain. A head
    whose background was set to 0 passes where its field of view is short: only looking at the tissue tells it apart.

    Args:
        volume: [H, W, D].
        affine: voxel to world, mm.
    """
    background = background_value(volume)
    if background is None:
        return Examined(False, None, np.ones(volume.shape, dtype=bool))
    foreground = find_foreground(volume, background)
    plausible = PLAUSIBLE_ML[0] <= volume_ml(foreground, affine) <= PLAUSIBLE_ML[1]
    crowded = np.mean(volume == background) < MIN_BACKGROUND_SHARE
    return Examined(bool(plausible and not crowded), background, foreground)
