"""Bring the T1- and the T2-weighted scan of one session together, whose headers often do not overlay well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from scripts.errors import InputError

__all__ = ["mask_on_t2", "register_t2_to_t1"]

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world has left and back positive
_ITERATIONS, _STEP_MM, _BINS, _SEED = 50, 4.0, 40, 1


@dataclass(frozen=True)
class _Level:
    """By what factor the images are shrunk, how much smoothed, and which share of the voxels is looked at."""

    shrink: int
    sigma_mm: float
    share: float


_COARSE, _FINE = _Level(4, 4.0, 0.5), _Level(2, 2.0, 0.2)


def _image(volume: NDArray, affine: NDArray) -> sitk.Image:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # The nearest rotation: ITK knows no shear, and a rigid alignment of two scans does not need it.
    left, _, right = np.linalg.svd((_LPS @ affine)[:3, :3] / spacing)
    window = np.percentile(volume, [1, 99.5])
    scaled = np.clip((volume - window[0]) / max(window[1] - window[0], 1e-6), 0, 1).astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(scaled.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((left @ right).ravel().tolist())
    image.SetOrigin((_LPS @ affine)[:3, 3].tolist())
    return image


def _starts(fixed: sitk.Image, moving: sitk.Image) -> Iterator[sitk.Euler3DTransform]:
    """Give the header's own placement, the middles of the grids, and the centres of mass on each other."""
    middle = [(size - 1) / 2 for size in fixed.GetSize()]
    header = sitk.Euler3DTransform()
    header.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint(middle))
    yield header
    start = sitk.CenteredTransformInitializerFilter
    for mode in (start.GEOMETRY, start.MOMENTS):
        found = sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), mode)
        yield sitk.Euler3DTransform(found)


def _improve(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Euler3DTransform, level: _Level) -> float:
    """Improve `transform` in place and return the metric, lower is better."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # the sum over samples would depend on their number
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(level.share, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    # A line search: steps of fixed length stop several degrees too early on thick slices.
    method.SetOptimizerAsConjugateGradientLineSearch(
        1.0, _ITERATIONS, 1e-5, 5, estimateLearningRate=method.EachIteration, maximumStepSizeInPhysicalUnits=_STEP_MM
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([level.shrink])
    method.SetSmoothingSigmasPerLevel([level.sigma_mm])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)
    return float(method.GetMetricValue())


def register_t2_to_t1(t2: NDArray, t2_affine: NDArray, t1: NDArray, t1_affine: NDArray) -> NDArray[np.float64]:
    """Find the rigid motion between the two scans of a session by their mutual information.

    It starts from the headers, from the middles of the grids and from the centres of mass; the best end is refined.

    Args:
        t2: [H, W, D].
        t2_affine: its voxels to its world, RAS mm, [4, 4].
        t1: [H, W, D], with or without skull.
        t1_affine: its voxels to its world.

    Returns:
        World of the T2 to world of the T1, [4, 4], mm.

    Raises:
        InputError: if the two cannot be compared from any start.
    """
    fixed, moving = _image(t2, t2_affine), _image(t1, t1_affine)
    ends = []
    for transform in _starts(fixed, moving):
        try:
            ends.append((_improve(fixed, moving, transform, _COARSE), transform))
        except RuntimeError:  # no overlap from this start
            continue
    if not ends:
        raise InputError("the T1 and the T2 of the session do not overlap", fix="Check that both show one head.")
    best = min(ends, key=lambda end: end[0])[1]
    _improve(fixed, moving, best, _FINE)
    center, matrix = np.asarray(best.GetCenter()), np.asarray(best.GetMatrix()).reshape(3, 3)
    motion = np.eye(4)
    motion[:3, :3] = matrix
    motion[:3, 3] = np.asarray(best.GetTranslation()) + center - matrix @ center
    return _LPS @ motion @ _LPS


def mask_on_t2(
    t1_mask: NDArray, t1_affine: NDArray, t2_shape: tuple[int, ...], t2_affine: NDArray, t2_to_t1: NDArray
) -> NDArray[np.bool_]:
    """Return the T1's brain mask on the grid of the T2, [H, W, D].

    Args:
        t1_mask: [H, W, D].
        t1_affine: its voxels to its world, mm.
        t2_shape: shape of the result.
        t2_affine: its voxels to its world, mm.
        t2_to_t1: from `register_t2_to_t1`.
    """
    to_voxels = np.linalg.solve(t1_affine, t2_to_t1 @ t2_affine)
    return affine_transform(t1_mask.astype(np.float32), to_voxels, output_shape=t2_shape, order=1) > 0.5
