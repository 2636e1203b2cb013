"""What the cases of a data set add up to: pooled counts, slices and the thresholds that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from scripts.handlers.evaluated_case import EvaluatedCase
from scripts.metrics.best_dice import pooled_best_dice
from scripts.metrics.healthy_threshold import threshold_at_rate
from scripts.metrics.score_counts import ScoreCounts
from scripts.metrics.slice_scores import SliceScores
from scripts.metrics.voxel_scores import VoxelScores, voxel_scores

__all__ = ["PooledScores", "Region", "RunScores", "healthy_point"]

_MANTISSA_BITS = 14


class Region(StrEnum):
    """Which voxels count in voxel-wise metrics: the whole volume (zero outside the brain) or the brain mask only."""

    VOLUME = "volume"
    BRAIN = "brain"


@dataclass
class PooledScores:
    """Add up one map over the cases of one data set, in memory that does not grow with the number of voxels.

    Attributes:
        brain: brain voxels counted by score, rounded down to 16,384 scores an octave.
        outside_lesion: lesion voxels outside the brain mask.
        outside_other: other voxels outside the brain mask.
        slices: slice scores of each case.
    """

    brain: ScoreCounts = field(default_factory=ScoreCounts.empty)
    outside_lesion: int = 0
    outside_other: int = 0
    slices: list[SliceScores] = field(default_factory=list)

    def add(self, case: EvaluatedCase, map_name: str, slices: SliceScores) -> None:
        """Count the voxels and slices of one more case."""
        mask, target = case.brain_mask, case.target
        self.brain += ScoreCounts.count(case.channels[map_name][mask], target[mask], mantissa_bits=_MANTISSA_BITS)
        lesion = int(target[~mask].sum())
        self.outside_lesion += lesion
        self.outside_other += int((~mask).sum()) - lesion
        self.slices.append(slices)

    def counts(self, region: Region) -> ScoreCounts:
        """Return the voxels of the region, counted by score."""
        if region is Region.BRAIN:
            return self.brain
        return self.brain.with_zeros(positives=self.outside_lesion, negatives=self.outside_other)

    @property
    def has_lesion(self) -> bool:
        """Whether any voxel of any case is a lesion."""
        return self.brain.num_positives + self.outside_lesion > 0

    def slice_areas(self) -> VoxelScores:
        """Return AUPRC and AUROC over the slices of all cases together."""
        return voxel_scores(
            np.concatenate([part.score for part in self.slices]),
            np.concatenate([part.has_lesion for part in self.slices]),
        )


class RunScores:
    """Keep the pooled scores of every data set and map of a run, and derive operating points from them.

    A data set in which no voxel is a lesion counts as healthy.

    Args:
        region: voxels that count in pooled metrics; healthy thresholds always look at brain voxels alone.
        healthy_rates: false positive rates for which healthy thresholds are derived.
        fixed: thresholds of an earlier run, {map: {name: threshold}}.
    """

    def __init__(
        self, *, region: Region, healthy_rates: Sequence[float], fixed: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Start with no case."""
        self.region, self.healthy_rates, self.fixed = region, tuple(healthy_rates), fixed
        self.pooled: dict[tuple[str, str], PooledScores] = {}

    def add(self, case: EvaluatedCase, map_name: str, slices: SliceScores) -> None:
        """Count one map of one case."""
        self.pooled.setdefault((case.dataset, map_name), PooledScores()).add(case, map_name, slices)

    def thresholds(self, map_name: str) -> dict[str, float]:
        """Derive a map's thresholds for a later run: `best_dice` with lesions, `healthy_fpr_RATE` with healthy sets."""
        lesion = [part for part in self._of_map(map_name) if part.has_lesion]
        healthy = [part for part in self._of_map(map_name) if not part.has_lesion]
        found: dict[str, float] = {}
        if lesion:
            found["best_dice"] = pooled_best_dice(_sum(part.counts(self.region) for part in lesion)).threshold
        if healthy:
            brain = _sum(part.brain for part in healthy)
            found |= {healthy_point(rate): threshold_at_rate(brain, rate) for rate in self.healthy_rates}
        return found

    def operating_points(self, dataset: str, map_name: str) -> dict[str, float]:
        """Return the thresholds at which the cases of a data set are scored, by name.

        `validation_NAME` are those handed in from an earlier run; `healthy_fpr_RATE` come from the healthy sets of this
        run; `pooled_best_dice` is this data set's own best one (an optimistic choice, made with its labels), or for a
        healthy set that of the run's lesion sets.
        """
        points = {f"validation_{name}": value for name, value in self.fixed.get(map_name, {}).items()}
        own = self.thresholds(map_name)
        best = own.pop("best_dice", None)
        points |= own
        part = self.pooled[dataset, map_name]
        if part.has_lesion:
            best = pooled_best_dice(part.counts(self.region)).threshold
        return points if best is None else points | {"pooled_best_dice": best}

    def colour_scale(self, map_name: str) -> float:
        """Return the score that 0.1 % of all brain voxels of the run reach, to draw every case on one scale."""
        brain = _sum(part.brain for part in self._of_map(map_name))
        share = np.cumsum(brain.positives + brain.negatives) / brain.num_voxels
        top = float(brain.values[int(np.searchsorted(share, 0.999))])
        return top if top > 0 else 1.0

    def _of_map(self, map_name: str) -> list[PooledScores]:
        """Return the pooled scores of one map, one per data set."""
        return [part for (_, name), part in self.pooled.items() if name == map_name]


def healthy_point(rate: float) -> str:
    """Return the name of the threshold with this false positive rate on healthy brains."""
    return f"healthy_fpr_{rate:g}"


def _sum(parts: Iterable[ScoreCounts]) -> ScoreCounts:
    """Add up counts."""
    return sum(parts, start=ScoreCounts.empty())
