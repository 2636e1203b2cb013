"""Set a lesion's shape into a healthy scan, so that thresholds can be chosen where no labelled lesion is at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.errors import InputError

__all__ = ["add_lesion"]

_LESION_PERCENTILE = {"t1": 3.0, "t2": 97.0}  # of the brain: towards the intensity of cerebrospinal fluid
_EDGE_SIGMA = 1.0  # voxels, of the soft edge
_TEXTURE_SIGMA = 1.5  # voxels
_TEXTURE = 0.1  # standard deviation, of the brain's interquartile range
_STRENGTH = (0.5, 0.9)  # how far towards that intensity


def add_lesion(
    image: NDArray[np.floating],
    brain_mask: NDArray[np.bool_],
    shape: NDArray[np.bool_],
    *,
    modality: str,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Blend a lesion into a scan: darker than the tissue in T1, brighter in T2, with a soft edge and some texture.

    It looks like a lesion to an intensity-based method, and has none of its effects on the tissue around: no swelling,
    no shift, no rim.

    Args:
        image: [H, W, D], zero outside the brain, any unit.
        brain_mask: [H, W, D].
        shape: [H, W, D], the lesion's voxels on the same grid; what lies outside the brain is cut off.
        modality: t1 or t2.
        rng: draws strength and texture.

    Returns:
        The image, float32, and the lesion's label: voxels with at least half of its strength.

    Raises:
        InputError: for shapes that differ, an unknown modality, and a shape with no voxel in the brain.
    """
    if modality not in _LESION_PERCENTILE:
        raise InputError(f"`modality` must be one of {', '.join(_LESION_PERCENTILE)}, got {modality!r}")
    if not image.shape == brain_mask.shape == shape.shape:
        shapes = f"{image.shape}, {brain_mask.shape} and {shape.shape}"
        raise InputError(f"`image`, `brain_mask` and `shape` must lie on one grid, got {shapes}")
    inside = shape & brain_mask
    if not inside.any():
        raise InputError("`shape` must have voxels in the brain, got none")
    brain = image[brain_mask]
    target = np.percentile(brain, _LESION_PERCENTILE[modality])
    spread = np.subtract(*np.percentile(brain, [75, 25]))
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), _TEXTURE_SIGMA)
    texture = _TEXTURE * spread * noise / noise.std()
    weight = ndimage.gaussian_filter(inside.astype(np.float64), _EDGE_SIGMA) * brain_mask
    weight *= 1 / weight.max()
    strength = rng.uniform(*_STRENGTH)
    blended = image + strength * weight * (target + texture - image)
    return np.clip(blended, 0, None).astype(np.float32) * brain_mask, weight >= 0.5
