"""What the cases of a data set add up to: pooled counts, slices and the thresholds that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import ignite.distributed as idist
import numpy as np
from numpy.typing import NDArray
from scripts.evaluation.case import EvaluatedCase
from scripts.metrics.score_counts import (
    POOLED_MANTISSA_BITS,
    ScoreCounts,
    SliceScores,
    VoxelScores,
    count_around,
    counts_from_around,
    lesion_counts,
    voxel_scores,
)
from scripts.metrics.thresholds import DicePoint, pooled_best_dice, threshold_at_rate
from scripts.options.choices import Region

__all__ = ["Group", "PooledScores", "Region", "RunScores", "gathered", "healthy_point", "settle"]

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Return the value of every process, in the order of their ranks; every process must call this.

    Args:
        value: anything that can be pickled.
    """
    if idist.get_world_size() == 1:
        return [value]
    # Ignite takes numbers, texts and tensors apart; inside a tuple they are objects like any other.
    parts: list[tuple[T]] = idist.all_gather((value,))  # type: ignore[assignment]
    return [part[0] for part in parts]


_OWN = "@"  # best_dice@MSLUB is the best_dice of MSLUB alone
Group = tuple[str, ...]  # data sets whose cases count together


@dataclass
class PooledScores:
    """Add up one map over the cases of one data set, in memory that grows with the lesion voxels alone.

    Attributes:
        brain: brain voxels counted by score, rounded down to 16,384 scores an octave; for healthy thresholds, whose
            rate they keep exactly.
        lesions: the region's lesion voxels by score, not rounded, one entry a case.
        outside_other: the region's other voxels outside the brain mask.
        top: highest score in the brain.
        slices: slice scores of each case.
    """

    brain: ScoreCounts = field(default_factory=ScoreCounts.empty)
    lesions: list[ScoreCounts] = field(default_factory=list)
    outside_other: int = 0
    top: float = -math.inf
    slices: list[SliceScores] = field(default_factory=list)

    def add(self, case: EvaluatedCase, map_name: str, slices: SliceScores, *, region: Region) -> None:
        """Count the voxels and slices of one more case."""
        mask, target = case.brain_mask, case.target
        scores = case.channels[map_name]
        self.brain += ScoreCounts.count(scores[mask], target[mask], mantissa_bits=POOLED_MANTISSA_BITS)
        self.lesions.append(lesion_counts(scores[target & mask if region is Region.BRAIN else target]))
        if region is Region.VOLUME:
            self.outside_other += int((~mask & ~target).sum())
        self.top = max(self.top, float(scores[mask].max()))
        self.slices.append(slices)

    def __add__(self, other: PooledScores) -> PooledScores:
        """Return the scores of both sets of cases together."""
        return PooledScores(
            brain=self.brain + other.brain,
            lesions=self.lesions + other.lesions,
            outside_other=self.outside_other + other.outside_other,
            top=max(self.top, other.top),
            slices=self.slices + other.slices,
        )

    @property
    def has_lesion(self) -> bool:
        """Whether any voxel of any case is a lesion."""
        return any(part.num_positives for part in self.lesions)

    def slice_areas(self) -> VoxelScores:
        """Return AUPRC and AUROC over the slices of all cases together."""
        return voxel_scores(
            np.concatenate([part.score for part in self.slices]),
            np.concatenate([part.has_lesion for part in self.slices]),
        )


class RunScores:
    """Keep the pooled scores of every data set and map of a run, and derive operating points from them.

    A data set in which no voxel is a lesion counts as healthy. First all cases are added; then `around` gets the other
    voxels around the lesion scores.

    Args:
        region: voxels that count in pooled metrics; healthy thresholds always look at brain voxels alone.
        healthy_rates: false positive rates for which healthy thresholds are derived.
        fixed: thresholds of an earlier run, {map: {name: threshold}}; `NAME@SET` stands in for NAME in one data set.
    """

    def __init__(
        self, *, region: Region, healthy_rates: Sequence[float], fixed: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Start with no case."""
        self.region, self.healthy_rates, self.fixed = region, tuple(healthy_rates), fixed
        self.pooled: dict[tuple[str, str], PooledScores] = {}
        self.around: dict[tuple[Group, str], NDArray[np.int64]] = {}
        self._counts: dict[tuple[Group, str], ScoreCounts] = {}
        self._lesions: dict[tuple[Group, str], ScoreCounts] = {}

    def add(self, case: EvaluatedCase, map_name: str, slices: SliceScores) -> None:
        """Count one map of one case."""
        part = self.pooled.setdefault((case.dataset, map_name), PooledScores())
        part.add(case, map_name, slices, region=self.region)

    def merge(self, others: Iterable[RunScores]) -> None:
        """Replace the pooled scores by the sum over several runs' cases, data sets in the order of their names."""
        runs = list(others)
        self._counts.clear()
        self._lesions.clear()
        maps = list(dict.fromkeys(name for run in runs for _, name in run.pooled))
        keys = sorted({key for run in runs for key in run.pooled}, key=lambda key: (key[0], maps.index(key[1])))
        self.pooled = {key: _total(run.pooled[key] for run in runs if key in run.pooled) for key in keys}

    def groups(self) -> list[Group]:
        """Return the groups that have a best Dice: each data set with lesions, and all of them where there are more."""
        names = list(dict.fromkeys(dataset for (dataset, _), part in self.pooled.items() if part.has_lesion))
        alone: list[Group] = [(name,) for name in names]
        return [*alone, tuple(names)] if len(names) > 1 else alone

    def lesions(self, group: Group, map_name: str) -> ScoreCounts:
        """Return the lesion voxels of a group by score."""
        if (group, map_name) not in self._lesions:
            parts = (part for dataset in group for part in self.pooled[dataset, map_name].lesions)
            self._lesions[group, map_name] = ScoreCounts.total(parts)
        return self._lesions[group, map_name]

    def counts(self, group: Group, map_name: str) -> ScoreCounts:
        """Return the region's voxels of a group of data sets, exact for AUPRC, AUROC and best Dice."""
        if (group, map_name) in self._counts:
            return self._counts[group, map_name]
        outside = sum(self.pooled[dataset, map_name].outside_other for dataset in group)
        inside = counts_from_around(self.lesions(group, map_name), self.around[group, map_name])
        self._counts[group, map_name] = inside.with_zeros(positives=0, negatives=outside)
        return self._counts[group, map_name]

    def best(self, group: Group, map_name: str) -> DicePoint:
        """Return the best Dice over the voxels of a group and its threshold."""
        return pooled_best_dice(self.counts(group, map_name))

    def thresholds(self, map_name: str) -> dict[str, float]:
        """Derive a map's thresholds for a later run.

        Returns:
            `best_dice` over all sets with lesions, `best_dice@SET` of each where there are several, and
            `healthy_fpr_RATE` over all healthy sets.
        """
        groups = self.groups()
        found = {f"best_dice{_OWN}{group[0]}": self.best(group, map_name).threshold for group in groups[:-1]}
        if groups:
            found = {"best_dice": self.best(groups[-1], map_name).threshold} | found
        healthy = [part for part in self._of_map(map_name) if not part.has_lesion]
        if healthy:
            brain = ScoreCounts.total(part.brain for part in healthy)
            found |= {healthy_point(rate): threshold_at_rate(brain, rate) for rate in self.healthy_rates}
        return found

    def operating_points(self, dataset: str, map_name: str) -> dict[str, float]:
        """Return the thresholds at which the cases of a data set are scored, by name.

        `validation_NAME` are those handed in from an earlier run, the data set's own before the common one;
        `healthy_fpr_RATE` come from the healthy sets of this run; `pooled_best_dice` is this data set's own best one
        (an optimistic choice, made with its labels), or for a healthy set that of the run's lesion sets.
        """
        fixed = self.fixed.get(map_name, {})
        ending = _OWN + dataset
        own = {name.removesuffix(ending): value for name, value in fixed.items() if name.endswith(ending)}
        common = {name: value for name, value in fixed.items() if _OWN not in name}
        points = {f"validation_{name}": value for name, value in (common | own).items()}
        derived = self.thresholds(map_name)
        points |= {name: value for name, value in derived.items() if not name.startswith("best_dice")}
        best = derived.get("best_dice")
        if self.pooled[dataset, map_name].has_lesion:
            best = self.best((dataset,), map_name).threshold
        return points if best is None else points | {"pooled_best_dice": best}

    def colour_scale(self, map_name: str) -> float:
        """Return the score that 0.1 % of all brain voxels of the run reach, to draw every case on one scale."""
        brain = ScoreCounts.total(part.brain for part in self._of_map(map_name))
        share = np.cumsum(brain.positives + brain.negatives) / brain.num_voxels
        top = float(brain.values[int(np.searchsorted(share, 0.999))])
        return top if top > 0 else 1.0

    def _of_map(self, map_name: str) -> list[PooledScores]:
        """Return the pooled scores of one map, one per data set."""
        return [part for (_, name), part in self.pooled.items() if name == map_name]


def healthy_point(rate: float) -> str:
    """Return the name of the threshold with this false positive rate on healthy brains.

    Examples:
        >>> healthy_point(0.05)
        'healthy_fpr_0.05'
    """
    return f"healthy_fpr_{rate:g}"


def _total(parts: Iterable[PooledScores]) -> PooledScores:
    """Add up pooled scores."""
    return sum(parts, start=PooledScores())


_Key = tuple[Group, str]


def settle(run: RunScores, cases: Iterable[EvaluatedCase]) -> None:
    """Complete a run's pooled scores, over all processes, so that every process has the same.

    Args:
        run: with the cases of all processes added; gets `around`.
        cases: the cases of this process; read once.
    """
    parts = gathered(_count_others(run, cases))
    run.around = {key: np.sum([part[key] for part in parts], axis=0) for key in parts[0]}


def _count_others(run: RunScores, cases: Iterable[EvaluatedCase]) -> dict[_Key, NDArray[np.int64]]:
    """Count this process's voxels that are no lesion around the lesion scores of each group and map."""
    keys = _keys(run)
    lesions = {key: run.lesions(*key) for key in keys}
    around = {key: np.zeros(2 * len(lesions[key].values) + 1, np.int64) for key in keys}
    for case in cases:
        others = case.brain_mask & ~case.target
        for group, name in _keys(run, case.dataset):
            around[group, name] += count_around(lesions[group, name], case.channels[name][others])
    return around


def _keys(run: RunScores, dataset: str | None = None) -> list[_Key]:
    """Return the groups, or those with a data set, with each of their maps."""
    maps = dict.fromkeys(name for _, name in run.pooled)
    return [(group, name) for group in run.groups() if dataset is None or dataset in group for name in maps]
