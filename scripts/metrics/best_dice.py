"""The threshold with the highest Dice: searched exactly, or by the reference's greedy bisection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scripts.metrics.arrays import checked_pair
from scripts.metrics.score_counts import ScoreCounts

__all__ = ["DicePoint", "DiceSearch", "GreedySearch", "best_dice", "greedy_dice", "pooled_best_dice"]


class DiceSearch(StrEnum):
    """How the threshold of the best Dice is found: over all thresholds, or as the reference experiment does."""

    EXACT = "exact"
    GREEDY = "greedy"


class DicePoint(NamedTuple):
    """A Dice in [0, 1] and the threshold that gives it: voxels with `score >= threshold` are predicted."""

    dice: float
    threshold: float


def best_dice(scores: ArrayLike, target: ArrayLike) -> DicePoint:
    """Find the threshold of the highest Dice exactly, over all thresholds.

    Dice changes only where the threshold crosses a score, so the distinct scores are all the candidates there are: one
    sort counts lesion and other voxels per score, cumulative sums give 2 TP / (predicted + lesion) at each. Of
    thresholds with equal Dice the highest is returned, the one that predicts the fewest voxels. O(N log N) time, O(N)
    memory.

    Args:
        scores: any shape, higher is more anomalous.
        target: same shape, 1 inside lesions and 0 elsewhere.

    Returns:
        The best Dice and its threshold, which is one of the scores; (NaN, NaN) when there is no lesion voxel.

    Raises:
        ValueError: when shapes differ, a score is not finite or the target is not binary.
    """
    return pooled_best_dice(ScoreCounts.count(scores, target))


def pooled_best_dice(counts: ScoreCounts) -> DicePoint:
    """Find the highest Dice over the thresholds `counts.values`; ties and NaN as in `best_dice`."""
    if counts.num_positives == 0:
        return DicePoint(math.nan, math.nan)
    true_positives, predicted = counts.at_or_above()
    dice = 2 * true_positives / (predicted + counts.num_positives)
    best = len(dice) - 1 - int(np.argmax(dice[::-1]))
    return DicePoint(float(dice[best]), float(counts.values[best]))


def greedy_dice(scores: ArrayLike, target: ArrayLike, *, num_steps: int = 10) -> DicePoint:
    """Search for the highest Dice by greedy bisection of [0, maximum], as the reference experiment does.

    Each step looks at one quarter and three quarters of the interval and goes on in the half of the better one (the
    lower half on a tie); the best threshold seen wins, the later one on a tie. The search can miss the optimum and
    never beats `best_dice`: it is here to compare with published numbers. Thresholds are computed in the dtype of
    `scores`.

    Args:
        scores: any shape, higher is more anomalous, the maximum at least 0.
        target: same shape, 1 inside lesions and 0 elsewhere.
        num_steps: halvings of the interval.

    Returns:
        The best Dice seen and its threshold; (NaN, NaN) when there is no lesion voxel.

    Raises:
        ValueError: when shapes differ, a score is not finite, the target is not binary or `num_steps` is below 1.
    """
    flat, lesion = checked_pair(scores, target)
    search = GreedySearch(flat.max() if lesion.any() else flat.dtype.type(0), num_steps=num_steps)
    if not lesion.any():
        return search.best
    ordered, ordered_lesion = np.sort(flat), np.sort(flat[lesion])
    while not search.finished:
        counts = []
        for threshold in search.candidates:
            predicted = len(ordered) - int(np.searchsorted(ordered, threshold))
            true_positives = len(ordered_lesion) - int(np.searchsorted(ordered_lesion, threshold))
            counts.append((true_positives, predicted))
        search.step(counts, num_positives=len(ordered_lesion))
    return search.best


class GreedySearch:
    """The search of `greedy_dice` step by step, for voxels that are counted elsewhere.

    Count at both of `candidates`, hand the counts to `step`, and go on until `finished`.

    Args:
        maximum: highest score, at least 0; its dtype is that of the thresholds.
        num_steps: halvings of the interval.

    Raises:
        ValueError: when `num_steps` is below 1.
    """

    def __init__(self, maximum: np.floating, *, num_steps: int = 10) -> None:
        if num_steps < 1:
            raise ValueError(f"`num_steps` must be at least 1, got {num_steps}")
        self._number = type(maximum)
        self._bottom, self._top = self._number(0), maximum
        self._left = num_steps
        self._best = DicePoint(-1.0, math.nan)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._left == 0

    @property
    def best(self) -> DicePoint:
        """The best Dice seen so far and its threshold; (NaN, NaN) before the first step."""
        return self._best if self._best.dice >= 0 else DicePoint(math.nan, math.nan)

    @property
    def candidates(self) -> tuple[np.floating, np.floating]:
        """The two thresholds to count at next."""
        width = self._top - self._bottom
        return self._bottom + width * self._number(0.25), self._bottom + width * self._number(0.75)

    def step(self, counts: Sequence[tuple[int, int]], *, num_positives: int) -> None:
        """Halve the interval.

        Args:
            counts: (lesion voxels predicted, voxels predicted) at each of `candidates`.
            num_positives: all lesion voxels, at least 1.
        """
        low, high = (
            DicePoint(2 * true / (predicted + num_positives), float(threshold))
            for (true, predicted), threshold in zip(counts, self.candidates, strict=True)
        )
        better = low if low.dice >= high.dice else high
        self._best = better if better.dice >= self._best.dice else self._best
        middle = self._bottom + (self._top - self._bottom) * self._number(0.5)
        self._bottom, self._top = (self._bottom, middle) if better is low else (middle, self._top)
        self._left -= 1
