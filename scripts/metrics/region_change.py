"""What became of candidate regions between two sessions: new, grown, unchanged, shrunken, vanished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Change", "ChangeRules", "count_changes", "region_changes"]


class Change(StrEnum):
    """How a region changed; the place in this list is its number in `change_dseg`."""

    NEW = "new"
    GROWN = "grown"
    SHRUNKEN = "shrunken"
    VANISHED = "vanished"
    UNCHANGED = "unchanged"

    @property
    def number(self) -> int:
        """Its value in a volume of changes, from 1 on."""
        return list(Change).index(self) + 1


@dataclass(frozen=True, kw_only=True)
class ChangeRules:
    """What counts as a change; less is what repeated scans of one head differ by.

    Attributes:
        tolerance_mm: regions of the two sessions that are at most so far apart are one.
        min_change_ml: smallest change of a volume; a region below it in one session is new or vanished.
        min_change_share: smallest change of a volume, as a share of the larger of the two.
        min_difference: smallest mean change of the map over the voxels that changed sides.
    """

    tolerance_mm: float = 4.0
    min_change_ml: float = 0.5
    min_change_share: float = 0.25
    min_difference: float = 0.0


def region_changes(
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    difference: NDArray[np.float32],
    affine: NDArray[np.float64],
    *,
    rules: ChangeRules,
    world_to_template: NDArray[np.float64] | None = None,
    place_of: Callable[[NDArray[np.float64]], dict[str, Any]] | None = None,
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Compare the candidate regions of two sessions on one grid.

    Regions that touch, or nearly do, in either session are compared together: one that splits, or two that grow into
    one, are one region with one volume before and one after.

    Args:
        before: [H, W, D], the regions at baseline.
        after: [H, W, D], those of the follow-up.
        difference: [H, W, D], the follow-up's anomaly map less the baseline's.
        affine: voxel to world of the grid, mm [4, 4].
        rules: what counts as a change.
        world_to_template: [4, 4], world to MNI152, mm; None leaves out what needs it.
        place_of: as for `scripts.results.region_table`.

    Returns:
        A dict a region, the largest change first: `change`, `before_ml`, `after_ml`, `change_ml`, `difference` (mean
        over the voxels that changed sides, or over the region where none did), `evidence` (the difference summed over
        them, ml), `peak_mm` (the voxel among them where the maps differ most), `peak_mni_mm` and the place. And the
        regions' voxels, uint8 [H, W, D], with the number of their change.
    """
    from scipy.ndimage import distance_transform_edt, find_objects, label

    union = before | after
    numbers = np.zeros(union.shape, dtype=np.uint8)
    if not union.any():
        return [], numbers
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    near = distance_transform_edt(~union, sampling=edges) <= rules.tolerance_mm / 2
    groups, _ = label(near, structure=np.ones((3, 3, 3)))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    rows = []
    for index, box in enumerate(find_objects(groups), start=1):
        own = (groups[box] == index) & union[box]
        one = _Group(own & before[box], own & after[box], difference[box], voxel_ml, rules)
        numbers[box][own] = one.change.number
        start = np.array([part.start for part in box])
        peak = affine @ [*(start + one.peak), 1.0]
        row: dict[str, Any] = {"change": str(one.change), **one.facts(), "peak_mm": _rounded(peak)}
        if world_to_template is not None:
            row["peak_mni_mm"] = _rounded(world_to_template @ peak)
            to_template = world_to_template @ affine
            points = (np.argwhere(own) + start) @ to_template[:3, :3].T + to_template[:3, 3]
            row |= place_of(points) if place_of is not None else {}
        rows.append(row)
    rows.sort(key=lambda row: (row["change"] == Change.UNCHANGED, -abs(row["evidence"])))
    return [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)], numbers


@dataclass(frozen=True)
class _Group:
    """One region in both sessions: its voxels before and after, in a box around it."""

    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    difference: NDArray[np.float32]
    voxel_ml: float
    rules: ChangeRules

    @property
    def before_ml(self) -> float:
        return float(self.before.sum()) * self.voxel_ml

    @property
    def after_ml(self) -> float:
        return float(self.after.sum()) * self.voxel_ml

    @property
    def changed(self) -> NDArray[np.bool_]:
        """The voxels that changed sides in the direction of the volume; all of the region's where none did."""
        grew = self.after.sum() >= self.before.sum()
        sides = self.after & ~self.before if grew else self.before & ~self.after
        return sides if sides.any() else self.before | self.after

    @property
    def mean_difference(self) -> float:
        return float(self.difference[self.changed].mean())

    @property
    def change(self) -> Change:
        gain = self.after_ml - self.before_ml
        rules, least = self.rules, max(self.before_ml, self.after_ml) * self.rules.min_change_share
        real = abs(gain) >= max(least, rules.min_change_ml) and np.sign(gain) * self.mean_difference > 0
        if not real or abs(self.mean_difference) < rules.min_difference:
            return Change.UNCHANGED
        # what is smaller than the smallest change is no region to grow from, or to be left over
        if gain > 0:
            return Change.NEW if self.before_ml < rules.min_change_ml else Change.GROWN
        return Change.VANISHED if self.after_ml < rules.min_change_ml else Change.SHRUNKEN

    @property
    def peak(self) -> NDArray[np.int_]:
        """The voxel in the box where the maps differ most."""
        voxels = np.argwhere(self.changed)
        return voxels[np.abs(self.difference[self.changed]).argmax()]

    def facts(self) -> dict[str, float]:
        mean = self.mean_difference
        gain = self.after_ml - self.before_ml
        volumes = {"before_ml": self.before_ml, "after_ml": self.after_ml, "change_ml": gain}
        return {**volumes, "difference": mean, "evidence": mean * float(self.changed.sum()) * self.voxel_ml}


def count_changes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many regions changed how, and by how much together.

    Args:
        rows: from `region_changes`.

    Returns:
        For each change its `count` and `change_ml`; `before_ml` and `after_ml` of all regions.
    """
    found: dict[str, Any] = {}
    for change in Change:
        own = [row for row in rows if row["change"] == change]
        found[str(change)] = {"count": len(own), "change_ml": float(sum(row["change_ml"] for row in own))}
    return found | {name: float(sum(row[name] for row in rows)) for name in ("before_ml", "after_ml")}


def _rounded(point: NDArray[np.float64]) -> list[float]:
    return [round(float(x), 2) for x in point[:3]]
