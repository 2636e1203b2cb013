"""Two sessions of one subject: how well one lies on the other after a turn and a shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scripts.errors import InputError
from scripts.registration.fit import mean_shift_mm, rigid_between
from scripts.registration.register import Scan, place
from scripts.registration.template import mask_dice, masked_correlation

__all__ = ["SessionFit", "align_sessions"]

_MIN_OVERLAP = 0.9
_MIN_SIMILARITY = 0.75
_HALF = 0.5


@dataclass(frozen=True)
class SessionFit:
    """Where a baseline lies on its follow-up.

    Attributes:
        transform: baseline's world to follow-up's world, [4, 4], mm: a turn and a shift.
        turn_deg: by how much the head was turned, degrees.
        shift_mm: how far the brain was moved on average, mm.
        overlap: Dice (0 to 1) of the brain masks where both fields of view reach.
        similarity: correlation (−1 to 1) of the scans where both have brain.
    """

    transform: NDArray[np.float64]
    turn_deg: float
    shift_mm: float
    overlap: float
    similarity: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**vars(self), "transform": self.transform.tolist()}

    def check(self) -> None:
        """Refuse two scans that do not look like one head.

        Raises:
            InputError: if they fit too badly.
        """
        if self.overlap < _MIN_OVERLAP or self.similarity < _MIN_SIMILARITY:
            what = (
                f"the two sessions do not fit each other (overlap of the brains {self.overlap:.2f}, at least "
                f"{_MIN_OVERLAP}; similarity {self.similarity:.2f}, at least {_MIN_SIMILARITY})"
            )
            raise InputError(what, fix="Check that both are of one subject, of one contrast, and complete")


def align_sessions(earlier: Scan, later: Scan, *, start: NDArray[np.float64] | None = None) -> SessionFit:
    """Find the turn and shift from a baseline to its follow-up, and measure how well they fit.

    Args:
        earlier: the baseline.
        later: the follow-up.
        start: one more place to begin at, baseline's world to follow-up's world, [4, 4], mm.

    Raises:
        InputError: if they cannot be brought together.
    """
    starts = [] if start is None else [start]
    transform = rigid_between(earlier, later, starts=starts, partner="follow-up")
    placed = place(earlier, transform, later.brain.affine, later.brain.image.shape)
    both = (placed.brain.mask > _HALF) & (later.brain.mask > _HALF)
    return SessionFit(
        transform=transform,
        turn_deg=float(np.degrees(Rotation.from_matrix(transform[:3, :3]).magnitude())),
        shift_mm=mean_shift_mm(transform, earlier),
        overlap=mask_dice(placed.brain.mask * placed.seen, later.brain.mask * placed.seen),
        similarity=masked_correlation(placed.brain.image, later.brain.image, both.astype(np.float32)),
    )
