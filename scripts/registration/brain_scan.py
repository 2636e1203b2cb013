"""A brain-only scan made small for registration, with what its field of view cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from scripts.errors import InputError
from scripts.registration.template import Volume

__all__ = ["Cut", "Placed", "Scan", "blurred", "place", "prepare_scan"]

CUT_SHARE = 0.2
MIN_VOXELS = 1000
WINDOW = (0.5, 99.5)


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
    """A scan on the grid of another brain, with `seen` [H, W, D] bool: where the scan tells what is there."""

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


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    spans = []
    for axis in range(3):
        held = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(spans)


def _block_means(array: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    padded = np.pad(array, [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)])
    split = [part for n, f in zip(padded.shape, factors, strict=True) for part in (n // f, f)]
    return padded.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)


def prepare_scan(image: NDArray, mask: NDArray, affine: NDArray, *, spacing_mm: float = 2.0) -> Scan:
    """Cut a brain out, map its percentiles 0.5–99.5 to [0, 1], and average whole voxels up to `spacing_mm`.

    Args:
        image: [H, W, D], any real type.
        mask: the brain mask, same shape; voxels above 0 count.
        affine: voxel to world, RAS mm, [4, 4]; may be oblique, flipped or sheared.
        spacing_mm: edge of the averaged voxels; axes that are coarser stay as they are.

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
    cuts, box = _cuts(brain), _box(brain)
    brain = brain[box]
    values = np.asarray(image[box], dtype=np.float32)
    low, high = np.percentile(values[brain], WINDOW)
    if not high > low:
        raise InputError(f"the brain is constant ({low:g})", fix="Give a scan with tissue contrast.")
    values = np.clip((values - low) / (high - low), 0, 1) * brain
    factors = np.maximum(1, np.floor(spacing_mm / edges + 0.01)).astype(int)
    to_own = np.diag([*factors.astype(float), 1.0])
    to_own[:3, 3] = (factors - 1) / 2 + [part.start for part in box]
    small = tuple(
        Cut(cut.axis, cut.sign, (cut.end - to_own[cut.axis, 3]) / to_own[cut.axis, cut.axis]) for cut in cuts
    )
    return Scan(Volume(_block_means(values, factors), _block_means(brain, factors), affine @ to_own), small)


def blurred(volume: Volume, spacing_mm: float) -> Volume:
    """Return a volume on its own grid, smoothed so that it can be sampled at `spacing_mm`."""
    edges = np.linalg.norm(volume.affine[:3, :3], axis=0)
    sigma = 0.5 * np.sqrt(np.maximum(0.0, spacing_mm**2 - edges**2)) / edges
    image, mask = (gaussian_filter(array, sigma, mode="constant") for array in (volume.image, volume.mask))
    return Volume(image, mask, volume.affine)


def place(
    scan: Scan, transform: NDArray, affine: NDArray, shape: Sequence[int], *, inset_mm: float = 0.0
) -> Placed:
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
