"""The second pass over an evaluation's cases: other voxels around the lesion scores, and the greedy search."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from scripts.handlers.evaluated_case import EvaluatedCase
from scripts.handlers.processes import gathered
from scripts.handlers.run_scores import Group, Region, RunScores
from scripts.metrics.best_dice import DiceSearch, GreedySearch
from scripts.metrics.compact_counts import count_around

__all__ = ["settle"]

_Key = tuple[Group, str]


def settle(run: RunScores, cases: Iterable[EvaluatedCase], *, search: DiceSearch) -> None:
    """Complete a run's pooled scores, over all processes, so that every process has the same.

    Args:
        run: with the cases of all processes added; gets `around`, and `points` for the greedy search.
        cases: the cases of this process; read more than once.
        search: how the thresholds of the best Dice are found.
    """
    parts = gathered(_count_others(run, cases))
    run.around = {key: np.sum([part[key] for part in parts], axis=0) for key in parts[0]}
    if search is DiceSearch.GREEDY:
        searches = {key: GreedySearch(np.float32(_maximum(run, key))) for key in parts[0]}
        while any(not one.finished for one in searches.values()):
            _step(run, cases, searches)
        run.points = {key: one.best for key, one in searches.items()}


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


def _maximum(run: RunScores, key: _Key) -> float:
    """Return the highest score of a group's voxels, not below 0."""
    group, name = key
    return max(0.0, *(run.pooled[dataset, name].top for dataset in group))


def _step(run: RunScores, cases: Iterable[EvaluatedCase], searches: dict[_Key, GreedySearch]) -> None:
    """Take all searches one step further with one pass over the cases."""
    counts = {key: np.zeros((2, 2), np.int64) for key in searches}
    for case in cases:
        target = case.target & case.brain_mask if run.region is Region.BRAIN else case.target
        for key in _keys(run, case.dataset):
            for row, threshold in enumerate(searches[key].candidates):
                predicted = case.channels[key[1]] >= threshold
                if run.region is Region.BRAIN:
                    predicted &= case.brain_mask
                counts[key][row] += int((predicted & target).sum()), int(predicted.sum())
    parts = gathered(counts)
    for key, one in searches.items():
        pairs = [(int(true), int(predicted)) for true, predicted in np.sum([part[key] for part in parts], axis=0)]
        one.step(pairs, num_positives=run.lesions(*key).num_positives)
