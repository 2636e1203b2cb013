"""Find the affine that takes a brain onto another one, with SimpleITK, the same for the same input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from scripts.registration.brain_scan import Scan, place
from scripts.registration.template import Volume

__all__ = ["COARSE", "FINE", "PAIR", "Level", "Model", "mutual_information", "register", "to_sitk"]

MARGIN_MM = 24.0
HISTOGRAM_BINS = 32
MIN_STEP = 100
INSET_MM = 6.0


class Model(StrEnum):
    """What a registration may change: 6, 7 or 12 numbers."""

    RIGID = "rigid"
    SIMILARITY = "similarity"
    AFFINE = "affine"


@dataclass(frozen=True)
class Level:
    """How a registration runs.

    Attributes:
        shrink: by which factors the images are made smaller, one after the other.
        sigma_mm: how much they are smoothed at each.
        step_mm: the first step of the optimiser, about how far it moves the brain.
        iterations: at most as many at each factor.
        share: which share of the voxels is looked at.
    """

    shrink: tuple[int, ...]
    sigma_mm: tuple[float, ...]
    step_mm: float
    iterations: int
    share: float


COARSE = Level(shrink=(1,), sigma_mm=(0.0,), step_mm=4.0, iterations=25, share=1.0)
FINE = Level(shrink=(2, 1), sigma_mm=(2.0, 2.0), step_mm=1.0, iterations=100, share=0.1)
PAIR = Level(shrink=(4, 2), sigma_mm=(4.0, 2.0), step_mm=4.0, iterations=100, share=0.05)


def to_sitk(volume: NDArray, affine: NDArray) -> sitk.Image:
    """Return an image [H, W, D] on an axis-aligned grid as SimpleITK's, in the same world (RAS; ITK's own is LPS).

    Args:
        volume: any type that SimpleITK has.
        affine: voxel to world, mm, with a diagonal of positive spacings: ITK's images cannot be sheared.

    Raises:
        ValueError: if the grid is not axis-aligned.
    """
    spacing = np.diagonal(affine)[:3]
    if not np.array_equal(affine[:3, :3], np.diag(spacing)) or spacing.min() <= 0:
        raise ValueError(f"`affine` must be axis-aligned with positive spacings, got {np.round(affine, 3).tolist()}.")
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _transform(model: Model, centre: NDArray) -> sitk.Transform:
    transform: sitk.Euler3DTransform | sitk.Similarity3DTransform | sitk.AffineTransform
    if model is Model.RIGID:
        transform = sitk.Euler3DTransform()
    elif model is Model.SIMILARITY:
        transform = sitk.Similarity3DTransform()
    else:
        transform = sitk.AffineTransform(3)
    transform.SetCenter(centre.tolist())
    return transform


def _matrix(transform: sitk.Transform) -> NDArray[np.float64]:
    """Return the matrix [4, 4] of an affine transform: where it takes the origin and the three unit vectors."""
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.asarray(transform.TransformPoint(unit)) - origin for unit in np.eye(3).tolist()], 1)
    matrix[:3, 3] = origin
    return matrix


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep SimpleITK to one thread: sums over several would depend on how many there are."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@dataclass(frozen=True)
class _Setup:
    method: sitk.ImageRegistrationMethod
    transform: sitk.Transform
    fixed: sitk.Image
    moving: sitk.Image


def _setup(fixed: Volume, scan: Scan, start: NDArray, *, model: Model, level: Level, seed: int) -> _Setup:
    spacing = np.diagonal(fixed.affine)[:3]
    margin = np.ceil(MARGIN_MM / spacing).astype(int)
    wide = fixed.affine.copy()
    wide[:3, 3] -= margin * spacing
    moving = place(scan, start, wide, np.asarray(fixed.image.shape) + 2 * margin)
    centre = (fixed.affine @ [*np.argwhere(fixed.mask > 0.5).mean(axis=0), 1.0])[:3]
    transform = _transform(model, centre)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    if scan.cuts:
        # What is compared must not grow with the scan, or stretching it would pay.
        known = place(scan, start, fixed.affine, fixed.image.shape, inset_mm=INSET_MM).seen
        method.SetMetricFixedMask(to_sitk(known.astype(np.uint8), fixed.affine))
        method.SetMetricMovingMask(to_sitk(moving.seen.astype(np.uint8), wide))
    if level.share < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        shares = [min(1.0, level.share * factor**3) for factor in level.shrink]
        method.SetMetricSamplingPercentagePerLevel(shares, seed % 2**31 + 1)  # for ITK 0 means the clock
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, inPlace=True)
    return _Setup(method, transform, to_sitk(fixed.image, fixed.affine), to_sitk(moving.brain.image, wide))


def mutual_information(fixed: Volume, scan: Scan, transform: NDArray) -> float:
    """Return the mutual information (nats) of a brain and a scan that is placed on it, all voxels counted.

    Args:
        fixed: the brain, on an axis-aligned grid.
        scan: the scan.
        transform: world of the scan to world of `fixed`, [4, 4], mm.

    Raises:
        RuntimeError: if they have nothing in common.
    """
    with _one_thread():
        setup = _setup(fixed, scan, transform, model=Model.RIGID, level=COARSE, seed=0)
        return -float(setup.method.MetricEvaluate(setup.fixed, setup.moving))


def register(
    fixed: Volume, scan: Scan, start: NDArray, *, model: Model | str, level: Level, seed: int = 0
) -> tuple[NDArray[np.float64], float]:
    """Improve the placement of a scan on another brain by their mutual information, which no contrast matters to.

    The brains' outlines count, the parts that the scan's field of view cuts off do not. One thread and a seeded
    regular sampling make it the same for the same input.

    Args:
        fixed: the brain to place the scan on, on an axis-aligned grid.
        scan: the scan.
        start: world of the scan to world of `fixed` to begin with, [4, 4], mm.
        model: rigid, similarity or affine.
        level: resolution and effort.
        seed: seed of the sampling.

    Returns:
        World of the scan to world of `fixed`, [4, 4], mm; the mutual information that it reaches, in nats.

    Raises:
        RuntimeError: if SimpleITK finds nothing to compare or cannot go on.

    References:
        Mattes et al., IEEE TMI 2003, doi:10.1109/TMI.2003.809072.
    """
    with _one_thread():
        setup = _setup(fixed, scan, start, model=Model(model), level=level, seed=seed)
        method = setup.method
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=level.step_mm,
            minStep=level.step_mm / MIN_STEP,
            numberOfIterations=level.iterations,
            relaxationFactor=0.6,
            gradientMagnitudeTolerance=1e-6,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(list(level.shrink))
        method.SetSmoothingSigmasPerLevel(list(level.sigma_mm))
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.Execute(setup.fixed, setup.moving)
    return np.linalg.inv(_matrix(setup.transform)) @ start, -float(method.GetMetricValue())
