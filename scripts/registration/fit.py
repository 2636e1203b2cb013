"""Fit a brain to the template: which way up, then an affine; or a T2 through the T1 of the same session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.registration.brain_scan import Placed, Scan, blurred, place
from scripts.registration.orientation import (
    AS_THE_HEADER_SAYS,
    COARSE_MM,
    Orientation,
    coarse_template,
    find_orientation,
)
from scripts.registration.register import FINE, PAIR, Model, mutual_information, register
from scripts.registration.template import TEMPLATE_SPACING_MM, Volume, load_template, mask_dice, masked_correlation
from scripts.scans.grid import grid_affine

__all__ = [
    "Fit",
    "Quality",
    "fit_quality",
    "fit_to_template",
    "header_fit",
    "mean_shift_mm",
    "placed_quality",
    "rigid_between",
]

SCALE_RANGE = (0.7, 1.6)
MAX_STRETCH = 1.5
PAIR_MARGIN_MM = 20.0


@dataclass(frozen=True)
class Fit:
    """Where a scan goes.

    Attributes:
        transform: scan world to MNI world, [4, 4], mm.
        orientation: what the search for the orientation found.
    """

    transform: NDArray[np.float64]
    orientation: Orientation


@dataclass(frozen=True)
class Quality:
    """How well a scan lies on the template.

    Attributes:
        similarity: correlation (−1 to 1) with the T1 template where both have brain.
        overlap: Dice (0 to 1) of the brain masks in the part of the template's grid that the scan shows.
        seen_share: share (0 to 1) of the template's brain that the field of view holds.
    """

    similarity: float
    overlap: float
    seen_share: float


def _plausible(transform: NDArray) -> bool:
    scales = np.linalg.svd(transform[:3, :3], compute_uv=False)
    return bool(SCALE_RANGE[0] <= scales[-1] and scales[0] <= min(SCALE_RANGE[1], MAX_STRETCH * scales[-1]))


def fit_to_template(scan: Scan, *, seed: int = 0) -> Fit:
    """Find the affine from a scan's world to MNI world, from any orientation, place and contrast.

    An affine that would stretch the brain beyond reason is given up for a turn, a shift and one scale.

    Args:
        scan: the brain.
        seed: seed of the registrations.

    Raises:
        InputError: if nothing fits, or what fits is not of a brain's size.
    """
    template = load_template()
    try:
        orientation = find_orientation(scan, seed=seed)
        for model in (Model.AFFINE, Model.SIMILARITY):
            transform = orientation.transform
            # The part of a cut scan that is compared is chosen from where it lies: choose it again when that is known.
            for _ in range(2 if scan.cuts else 1):
                transform, _reached = register(template, scan, transform, model=model, level=FINE, seed=seed)
            if _plausible(transform):
                return Fit(transform, orientation)
    except RuntimeError as error:
        raise InputError(
            f"the brain cannot be aligned to the template: {str(error).splitlines()[-1]}",
            fix="Check the brain mask and the header's voxel sizes.",
        ) from error
    scales = np.round(np.linalg.svd(transform[:3, :3], compute_uv=False), 2).tolist()
    raise InputError(
        f"aligned to the template, the brain would be scaled by {scales}, not within {SCALE_RANGE}",
        fix="Check the brain mask and the header's voxel sizes.",
    )


def header_fit(scan: Scan) -> Fit:
    """Return the fit of a scan that stays where its header places it."""
    soft = Scan(blurred(scan.brain, COARSE_MM), scan.cuts)
    try:
        similarity = mutual_information(coarse_template(), soft, np.eye(4))
    except RuntimeError:  # no voxel of it lies near the template
        similarity = 0.0
    return Fit(np.eye(4), Orientation(np.eye(4), similarity, 0.0, AS_THE_HEADER_SAYS))


def mean_shift_mm(transform: NDArray, scan: Scan) -> float:
    """Return how far a transform moves the scan's brain on average, mm of MNI."""
    voxels = np.argwhere(scan.brain.mask > 0.5)
    points = voxels @ scan.brain.affine[:3, :3].T + scan.brain.affine[:3, 3]
    moved = points @ transform[:3, :3].T + transform[:3, 3]
    return float(np.linalg.norm(moved - points, axis=1).mean())


def fit_quality(scan: Scan, transform: NDArray) -> Quality:
    """Measure how well a scan lies on the template after a transform, [4, 4], of its world to MNI world, mm."""
    template = load_template()
    return placed_quality(place(scan, transform, template.affine, template.image.shape))


def placed_quality(placed: Placed) -> Quality:
    """Measure how well a scan that was placed on the template's grid lies on it."""
    template = load_template()
    known = template.mask * placed.seen
    return Quality(
        similarity=masked_correlation(placed.brain.image, template.image, known * (placed.brain.mask > 0.5)),
        overlap=mask_dice(placed.brain.mask * placed.seen, known),
        seen_share=float(known.sum() / template.mask.sum()),
    )


def rigid_between(moving: Scan, fixed: Scan, *, seed: int = 0) -> NDArray[np.float64]:
    """Find the turn and shift from one scan of a head to another one, of whatever contrast.

    It begins where the headers agree, and where the masks' centres do; what fits better wins.

    Args:
        moving: the scan to move, such as a T2.
        fixed: the scan that stays, such as a T1.
        seed: seed of the registrations.

    Returns:
        World of `moving` to world of `fixed`, [4, 4], mm.

    Raises:
        InputError: if the scans cannot be brought together.
    """
    positions = np.argwhere(fixed.brain.mask > 0.5) @ fixed.brain.affine[:3, :3].T + fixed.brain.affine[:3, 3]
    low, high = positions.min(axis=0) - PAIR_MARGIN_MM, positions.max(axis=0) + PAIR_MARGIN_MM
    size = np.ceil((high - low) / TEMPLATE_SPACING_MM).astype(int)
    grid = grid_affine((low + high) / 2, size.tolist(), TEMPLATE_SPACING_MM)
    target: Volume = place(fixed, np.eye(4), grid, size).brain
    centred = np.eye(4)
    centred[:3, 3] = fixed.centre_mm - moving.centre_mm
    found, problem = [], ""
    for start in (np.eye(4), centred):
        try:
            found.append(register(target, moving, start, model=Model.RIGID, level=PAIR, seed=seed))
        except RuntimeError as error:  # no overlap from there
            problem = str(error).splitlines()[-1]
    if not found:
        raise InputError(f"the scan cannot be aligned to its T1: {problem}", fix="Check both brain masks and headers.")
    return max(found, key=lambda pair: pair[1])[0]
