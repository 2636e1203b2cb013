"""Fit a brain to the template: which way up it is, then an affine; or a T2 through the T1 of the same session."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from scripts.errors import InputError
from scripts.registration.register import (
    COARSE,
    FINE,
    PAIR,
    Model,
    Placed,
    Scan,
    blurred,
    mutual_information,
    place,
    register,
)
from scripts.registration.template import TEMPLATE_SPACING_MM, Volume, load_template, mask_dice, masked_correlation
from scripts.scans.volume import grid_affine

__all__ = [
    "AS_THE_HEADER_SAYS",
    "Fit",
    "Orientation",
    "Quality",
    "coarse_template",
    "describe_turn",
    "find_orientation",
    "fit_quality",
    "fit_to_template",
    "header_fit",
    "mean_shift_mm",
    "placed_quality",
    "rigid_between",
]

AS_THE_HEADER_SAYS = "as the header says"
COARSE_MM = 8.0
CUT_SCALE = 1.1  # whole scans of adults take 1.09 to 1.16
TILT_DEG = 30.0
MIN_GAIN = 0.1
SURE = 0.8


@dataclass(frozen=True)
class Orientation:
    """What the search found.

    Attributes:
        transform: scan world to MNI world, [4, 4], mm: turned, scaled and shifted.
        header_similarity: mutual information (nats) that the header's orientation reached.
        gain: how much more the orientation that was taken reached; 0 for the header's own.
        text: the orientation in words.
    """

    transform: NDArray[np.float64]
    header_similarity: float
    gain: float
    text: str


def _quarter_turns() -> Iterator[NDArray[np.float64]]:
    """Yield the 24 turns that take axes to axes. Mirroring adds none: the template's halves are the same."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                yield turn


def _tilts() -> Iterator[NDArray[np.float64]]:
    for axis, sign in itertools.product("xyz", (1, -1)):
        yield Rotation.from_euler(axis, sign * TILT_DEG, degrees=True).as_matrix()


@cache
def coarse_template() -> Volume:
    """Return the template at 8 mm, on which orientations are compared."""
    fine = load_template()
    soft = blurred(fine, COARSE_MM)
    factor = COARSE_MM / fine.affine[0, 0]
    to_fine = np.diag([factor] * 3 + [1.0])
    to_fine[:3, 3] = (factor - 1) / 2
    shape = tuple(int(n // factor) for n in fine.image.shape)
    image, mask = (affine_transform(array, to_fine, output_shape=shape, order=1) for array in (soft.image, soft.mask))
    return Volume(image, mask, fine.affine @ to_fine)


def describe_turn(turn: NDArray) -> str:
    """Say in words where a quarter turn [3, 3] takes the directions that a header gives.

    Examples:
        >>> describe_turn(np.diag([-1, 1, -1])).split(" (")[0]
        'upside down'
    """
    if np.array_equal(turn, np.eye(3)):
        return AS_THE_HEADER_SAYS
    parts = []
    if np.array_equal(np.abs(turn), np.eye(3)):
        words = ((2, "upside down"), (1, "front and back swapped"))
        parts = [word for axis, word in words if turn[axis, axis] < 0]
    else:
        names = (("a side", "a side"), ("the front", "the back"), ("the top", "the bottom"))
        for axis, direction in ((1, "the front"), (2, "the top")):
            target = int(np.argmax(np.abs(turn[:, axis])))
            real = names[target][int(turn[target, axis] < 0)]
            if real != direction:
                parts.append(f"what the header calls {direction} is {real}")
    text = ", ".join(parts)
    return f"{text} (left and right may be swapped too: the template cannot tell)"


def _start(template: Volume, scan: Scan, turn: NDArray) -> NDArray[np.float64]:
    """Turn a scan, give it the template's size and put it where the part of the brain that it shows is."""
    positions = np.argwhere(template.mask > 0.5) @ template.affine[:3, :3].T + template.affine[:3, 3]
    total_mm3 = len(positions) * abs(float(np.linalg.det(template.affine[:3, :3])))
    scale = CUT_SCALE if scan.cuts else float(np.clip(np.cbrt(total_mm3 / scan.volume_mm3), 0.8, 1.4))
    if scan.cuts:
        gone = np.clip(1 - scan.volume_mm3 * scale**3 / total_mm3, 0.0, 0.7) / len(scan.cuts)
        kept = np.ones(len(positions), dtype=bool)
        for cut in scan.cuts:
            outward = np.linalg.inv(scan.brain.affine[:3, :3])[cut.axis] * cut.sign
            depth = positions @ (turn @ outward)
            kept &= depth <= np.quantile(depth, 1 - gone)
        positions = positions[kept] if kept.any() else positions
    start = np.eye(4)
    start[:3, :3] = scale * turn
    start[:3, 3] = positions.mean(axis=0) - start[:3, :3] @ scan.centre_mm
    return start


@dataclass(frozen=True)
class _Try:
    similarity: float
    transform: NDArray[np.float64]
    turn: NDArray[np.float64]


def _try(scan: Scan, turn: NDArray, *, seed: int) -> _Try:
    """Fit a turned scan to the template; its `turn` is the quarter turn that is nearest to where it ended."""
    template = coarse_template()
    try:
        found, similarity = register(
            template, scan, _start(template, scan, turn), model=Model.SIMILARITY, level=COARSE, seed=seed
        )
    except RuntimeError:  # it left the template
        return _Try(-np.inf, np.eye(4), turn)
    return _Try(similarity, found, max(_quarter_turns(), key=lambda quarter: np.sum(quarter * found[:3, :3])))


def _is_header(found: _Try) -> bool:
    return np.array_equal(found.turn, np.eye(3))


def find_orientation(scan: Scan, *, seed: int = 0) -> Orientation:
    """Compare the orientation that the header gives, with the head tilted up to 30°, to the other 23 quarter turns.

    Each is fitted to the template at 8 mm by rotation, shift and one scale. Where a header mirrors a scan, the turn
    that looks alike is found: the template's halves are the same, so that left and right cannot be distinguished.

    Args:
        scan: the brain.
        seed: seed of the registrations.

    Raises:
        RuntimeError: if no orientation can be fitted to the template.
    """
    soft = Scan(blurred(scan.brain, COARSE_MM), scan.cuts)
    tries = [_try(soft, turn, seed=seed) for turn in (np.eye(3), *_tilts())]
    reached = attrgetter("similarity")
    if scan.cuts or max(map(reached, filter(_is_header, tries)), default=-np.inf) < SURE:
        tries += [_try(soft, turn, seed=seed) for turn in _quarter_turns() if not np.array_equal(turn, np.eye(3))]
        best = max(tries, key=reached)
        if not _is_header(best):
            tries += [_try(soft, tilt @ best.turn, seed=seed) for tilt in _tilts()]
    best = max(tries, key=reached)
    header = max(filter(_is_header, tries), key=reached, default=_Try(0.0, best.transform, best.turn))
    if not np.isfinite(best.similarity):
        raise RuntimeError("no orientation fits")
    gain = best.similarity - max(header.similarity, 0.0)
    if _is_header(best) or (gain <= MIN_GAIN and _is_header(header)):
        return Orientation(header.transform, header.similarity, 0.0, AS_THE_HEADER_SAYS)
    return Orientation(best.transform, max(header.similarity, 0.0), gain, describe_turn(best.turn))


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


def rigid_between(
    moving: Scan, fixed: Scan, *, starts: Sequence[NDArray[np.float64]] = (), partner: str = "T1", seed: int = 0
) -> NDArray[np.float64]:
    """Find the turn and shift from one scan of a head to another one, of whatever contrast.

    It begins where the headers agree, where the masks' centres do, and wherever else is said; what fits best wins.

    Args:
        moving: the scan to move, such as a T2.
        fixed: the scan that stays, such as a T1.
        starts: more places to begin at, world of `moving` to world of `fixed`, [4, 4], mm.
        partner: what `fixed` is called in messages.
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
    for start in (np.eye(4), centred, *starts):
        try:
            found.append(register(target, moving, start, model=Model.RIGID, level=PAIR, seed=seed))
        except RuntimeError as error:  # no overlap from there
            problem = str(error).splitlines()[-1]
    if not found:
        what = f"the scan cannot be aligned to its {partner}: {problem}"
        raise InputError(what, fix="Check both brain masks and headers.")
    return max(found, key=lambda pair: pair[1])[0]
