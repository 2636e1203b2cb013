"""Second sessions made of one scan: the head moved, other intensities and noise; and with a lesion of a known size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, distance_transform_edt
from scipy.spatial.transform import Rotation

from scripts.errors import InputError
from scripts.scans.volume import background_value
from tools.make_synthetic_lesions import add_lesion

__all__ = ["Lesion", "motion_of", "moved_again", "place_lesion", "with_lesion"]

_MAX_TURN_DEG, _MAX_SHIFT_MM = 5.0, 5.0
_GAIN = (0.8, 1.25)  # of the intensities
_NOISE = 0.02  # standard deviation, of the scan's 99th percentile
_STRETCH = (0.8, 1.25)  # of a lesion's axes
_MARGIN_MM = 3.0  # that the largest lesion keeps from the brain's surface
_ORDER = 3


@dataclass(frozen=True)
class Lesion:
    """A place and a form for lesions of any size.

    Attributes:
        centre_mm: [3], scanner's world.
        axes: [3], lengths of the ellipsoid's half axes along the world's axes; their product is 1.
        seed: of strength and texture, the same for each size.
    """

    centre_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    seed: int


def moved_again(image: nib.Nifti1Image, *, seed: int) -> nib.Nifti1Image:
    """Return the same head as in another session: turned, shifted, resampled, rescaled and with noise.

    It is turned by up to 5° about each axis and shifted by up to 5 mm along each, interpolated by cubic splines on the
    scan's own grid, multiplied by 0.8 to 1.25, and given noise of 2 % of the 99th percentile, none where a constant
    background of 0 is.

    Args:
        image: the scan.
        seed: of all of this.
    """
    rng = np.random.default_rng(seed)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    motion = _motion(image, rng)
    to_old = np.linalg.solve(motion @ image.affine, image.affine)
    found = affine_transform(voxels, to_old, order=_ORDER, mode="nearest")
    noise = rng.standard_normal(voxels.shape, dtype=np.float32) * np.float32(_NOISE * np.percentile(voxels, 99))
    noisy = np.maximum(found + noise, 0)
    if background_value(voxels) == 0:
        kept = affine_transform((voxels > 0).astype(np.float32), to_old, order=1, mode="nearest") > 0.5
        noisy = np.where(kept, np.maximum(noisy, 1), 0)
    return nib.Nifti1Image(noisy * np.float32(rng.uniform(*_GAIN)), image.affine)


def motion_of(image: nib.Nifti1Image, *, seed: int) -> NDArray[np.float64]:
    """Return how `moved_again` moves the head: world to world, mm [4, 4].

    Args:
        image: the scan.
        seed: the same.
    """
    return _motion(image, np.random.default_rng(seed))


def _motion(image: nib.Nifti1Image, rng: np.random.Generator) -> NDArray[np.float64]:
    middle = image.affine @ [*(np.asarray(image.shape) - 1) / 2, 1.0]
    motion = np.eye(4)
    turn = rng.uniform(-_MAX_TURN_DEG, _MAX_TURN_DEG, 3)
    motion[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    motion[:3, 3] = middle[:3] - motion[:3, :3] @ middle[:3] + rng.uniform(-_MAX_SHIFT_MM, _MAX_SHIFT_MM, 3)
    return motion


def place_lesion(brain: NDArray[np.bool_], affine: NDArray, *, largest_ml: float, seed: int) -> Lesion:
    """Choose where a lesion lies: its largest size keeps 3 mm from the brain's surface.

    Args:
        brain: [H, W, D].
        affine: voxel to world, mm [4, 4].
        largest_ml: the largest volume that it will have.
        seed: of the choice.

    Raises:
        InputError: if the brain has no room for it.
    """
    rng = np.random.default_rng(seed)
    axes = rng.uniform(*_STRETCH, 3)
    axes /= np.cbrt(axes.prod())
    depth = distance_transform_edt(brain, sampling=np.linalg.norm(affine[:3, :3], axis=0))
    inside = np.argwhere(depth >= _radius_mm(largest_ml) * axes.max() + _MARGIN_MM)
    if not len(inside):
        raise InputError(f"the brain has no room for a lesion of {largest_ml:g} ml", fix="Give a smaller one")
    return Lesion((affine @ [*inside[rng.integers(len(inside))], 1.0])[:3], axes, seed)


def with_lesion(
    image: nib.Nifti1Image, brain: NDArray[np.bool_], lesion: Lesion, *, volume_ml: float
) -> tuple[nib.Nifti1Image, float]:
    """Return a T1-weighted scan with a dark lesion of a size, and the volume of the voxels that it takes, ml.

    Args:
        image: the scan.
        brain: [H, W, D], its brain mask; what lies outside stays.
        lesion: where.
        volume_ml: how large.
    """
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    mm = [
        sum(row[axis] * step for axis, step in enumerate(np.ogrid[tuple(map(slice, voxels.shape))])) + row[3]
        for row in image.affine[:3]
    ]
    squares = _ellipsoid(mm, lesion, _radius_mm(volume_ml))
    brighter, label = add_lesion(
        np.where(brain, voxels, 0), brain, squares <= 1, modality="t1", rng=np.random.default_rng(lesion.seed)
    )
    made = np.where(brain, brighter, voxels).astype(np.float32)
    return nib.Nifti1Image(made, image.affine), float(label.sum() * abs(np.linalg.det(image.affine[:3, :3])) / 1000)


def _ellipsoid(mm: Sequence[NDArray], lesion: Lesion, radius_mm: float) -> NDArray[np.float64]:
    """Return the squared distance from the centre in half axes, [H, W, D]."""
    parts = zip(mm, lesion.centre_mm, lesion.axes, strict=True)
    return sum(((place - centre) / (radius_mm * axis)) ** 2 for place, centre, axis in parts)


def _radius_mm(volume_ml: float) -> float:
    """Return the radius of a ball, mm."""
    return float(np.cbrt(volume_ml * 1000 * 3 / (4 * np.pi)))
