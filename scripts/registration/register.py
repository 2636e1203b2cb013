"""Bring a brain onto another with SimpleITK, made small and with what its field of view cut off; repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, find_objects, gaussian_filter
from scripts.errors import InputError
from scripts.registration.template import Volume

__all__ = [
    "COARSE",
    "FINE",
    "PAIR",
    "Cut",
    "Level",
    "Model",
    "Placed",
    "Scan",
    "blurred",
    "mutual_information",
    "place",
    "prepare_scan",
    "register",
    "to_sitk",
]

CUT_SHARE = 0.2
MIN_VOXELS = 1000
WINDOW = (0.5, 99.5)
_SPACING_MM = 2.0  # of averaged voxels; axes that are coarser stay as they are


@dataclass(frozen=True)
class Cut:
    """A face at which the field of view ends within the brain.

    Attributes:
        axis: voxel axis across the face.
        sign: 1 where the unknown begins above `end`, −1 where it begins below.
        end: voxel coordinate of the face.
    """

    axis: int
    sign: int
    end: float


@dataclass(frozen=True)
class Scan:
    """A brain on its own grid, which may be oblique or sheared, and the faces that cut it."""

    brain: Volume
    cuts: tuple[Cut, ...] = ()

    @property
    def volume_mm3(self) -> float:
        """Volume of the mask."""
        return float(self.brain.mask.sum(dtype=np.float64)) * abs(float(np.linalg.det(self.brain.affine[:3, :3])))

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """Centre of mass of the mask in the scan's world, [3]."""
        weights = self.brain.mask.astype(np.float64)
        sums = [weights.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        middle = [float(s @ np.arange(len(s)) / s.sum()) for s in sums]
        return (self.brain.affine @ [*middle, 1.0])[:3]


@dataclass(frozen=True)
class Placed:
    """A scan on the grid of another brain, with `seen` [H, W, D] bool: where the scan shows what is there."""

    brain: Volume
    seen: NDArray[np.bool_]


def _cuts(mask: NDArray[np.bool_]) -> tuple[Cut, ...]:
    """Return the faces where the mask's cross-section falls from `CUT_SHARE` of its largest to nothing at once."""
    found = []
    for axis in range(3):
        areas = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        held = np.flatnonzero(areas)
        for sign, index in ((-1, held[0]), (1, held[-1])):
            if areas[index] > CUT_SHARE * areas.max():
                found.append(Cut(axis, sign, float(index) + 0.5 * sign))
    return tuple(found)


def _block_means(array: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    padded = np.pad(array, [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)])
    split = [part for n, f in zip(padded.shape, factors, strict=True) for part in (n // f, f)]
    return padded.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)


def prepare_scan(image: NDArray, mask: NDArray, affine: NDArray) -> Scan:
    """Cut a brain out, map its percentiles 0.5–99.5 to [0, 1], and average whole voxels up to 2 mm.

    Args:
        image: [H, W, D], any real type.
        mask: the brain mask, same shape; voxels above 0 count.
        affine: voxel to world, RAS mm, [4, 4]; may be oblique, flipped or sheared.

    Raises:
        InputError: if the mask holds fewer than 1000 voxels, the image is constant in it or the affine is singular.
    """
    brain = np.asarray(mask) > 0
    if np.count_nonzero(brain) < MIN_VOXELS:
        raise InputError(
            f"the brain mask holds {np.count_nonzero(brain)} voxels, too few to align", fix="Check the brain mask."
        )
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    # A rounded inverse of a nearly singular matrix would still come out finite: look at the volume of the unit axes.
    if not np.isfinite(affine).all() or edges.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-3:
        raise InputError(
            f"the affine is singular: {np.round(affine, 3).tolist()}", fix="Repair the header's sform and qform."
        )
    cuts, box = _cuts(brain), find_objects(brain.astype(np.uint8))[0]
    brain = brain[box]
    values = np.asarray(image[box], dtype=np.float32)
    low, high = np.percentile(values[brain], WINDOW)
    if not high > low:
        raise InputError(f"the brain is constant ({low:g})", fix="Give a scan with tissue contrast.")
    values = np.clip((values - low) / (high - low), 0, 1) * brain
    factors = np.maximum(1, np.floor(_SPACING_MM / edges + 0.01)).astype(int)
    to_own = np.diag([*factors.astype(float), 1.0])
    to_own[:3, 3] = (factors - 1) / 2 + [part.start for part in box]
    small = tuple(Cut(cut.axis, cut.sign, (cut.end - to_own[cut.axis, 3]) / to_own[cut.axis, cut.axis]) for cut in cuts)
    return Scan(Volume(_block_means(values, factors), _block_means(brain, factors), affine @ to_own), small)


def blurred(volume: Volume, spacing_mm: float) -> Volume:
    """Return a volume on its own grid, smoothed so that it can be sampled at `spacing_mm`."""
    edges = np.linalg.norm(volume.affine[:3, :3], axis=0)
    sigma = 0.5 * np.sqrt(np.maximum(0.0, spacing_mm**2 - edges**2)) / edges
    image, mask = (gaussian_filter(array, sigma, mode="constant") for array in (volume.image, volume.mask))
    return Volume(image, mask, volume.affine)


def place(scan: Scan, transform: NDArray, affine: NDArray, shape: Sequence[int], *, inset_mm: float = 0.0) -> Placed:
    """Resample a scan linearly onto a grid.

    Args:
        scan: the scan.
        transform: world of the scan to world of the grid, [4, 4], mm.
        affine: voxel to world of the grid.
        shape: voxels of the grid.
        inset_mm: how far inside the faces that cut the scan it stops to be known, mm of the grid's world.
    """
    to_scan = np.linalg.solve(transform @ scan.brain.affine, affine)
    image, mask = (
        affine_transform(array, to_scan, output_shape=tuple(shape), order=1, mode="grid-constant")
        for array in (scan.brain.image, scan.brain.mask)
    )
    seen = np.ones(tuple(shape), dtype=bool)
    for cut in scan.cuts:
        row = to_scan[cut.axis]
        position = row[3] + sum(
            step * index for step, index in zip(row[:3], np.ogrid[tuple(map(slice, shape))], strict=True)
        )
        steps_per_mm = np.linalg.norm(np.linalg.solve(affine[:3, :3].T, row[:3]))
        seen &= cut.sign * (position - cut.end) <= -inset_mm * steps_per_mm
    return Placed(Volume(image, mask, np.asarray(affine)), seen)


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
        InputError: if the grid is not axis-aligned.
    """
    spacing = np.diagonal(affine)[:3]
    if not np.array_equal(affine[:3, :3], np.diag(spacing)) or spacing.min() <= 0:
        raise InputError(f"`affine` must be axis-aligned with positive spacings, got {np.round(affine, 3).tolist()}.")
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
    share = level.share
    if scan.cuts:
        # What is compared must not grow with the scan, or stretching it would pay.
        known = place(scan, start, fixed.affine, fixed.image.shape, inset_mm=INSET_MM).seen
        method.SetMetricFixedMask(to_sitk(known.astype(np.uint8), fixed.affine))
        method.SetMetricMovingMask(to_sitk(moving.seen.astype(np.uint8), wide))
        share /= max(float(known.mean()), level.share)  # as many voxels are looked at as of a whole brain
    if share < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        shares = [min(1.0, share * factor**3) for factor in level.shrink]
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
