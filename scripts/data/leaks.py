"""Find and drop scans that occur twice and persons that occur in more than one split."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

__all__ = ["LeakReport", "drop_duplicates", "drop_leaks", "find_leaks"]

Item = dict[str, Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeakReport:
    """Hold what `find_leaks` found; true if there is anything.

    Attributes:
        duplicates: per datalist, the cases whose image is listed more than once.
        shared: per pair of datalists, the subjects that are in both.
    """

    duplicates: Mapping[str, tuple[str, ...]]
    shared: Mapping[tuple[str, str], tuple[str, ...]]

    def __bool__(self) -> bool:
        """Return whether anything was found."""
        return bool(self.duplicates or self.shared)

    def __str__(self) -> str:
        """Return one line per finding, with the names."""
        lines = [f"{name}: {len(cases)} duplicate(s): {', '.join(cases)}" for name, cases in self.duplicates.items()]
        for (first, second), subjects in self.shared.items():
            lines.append(f"{first} and {second}: {len(subjects)} shared subject(s): {', '.join(subjects)}")
        return "\n".join(lines) or "no duplicates, no shared subjects"


def find_leaks(datalists: Mapping[str, Sequence[Item]]) -> LeakReport:
    """Find images listed twice in a datalist and subjects shared between datalists.

    Subjects are compared by the key `subject`, which carries the data set they belong to, so that a synthetic case
    counts as the person whose scan it was made from.

    Args:
        datalists: datalists of `load_datalist`, by any name.
    """
    duplicates = {}
    for name, items in datalists.items():
        counts = Counter(item["image"] for item in items)
        repeated = {item["image"]: item["case"] for item in items if counts[item["image"]] > 1}
        if repeated:
            duplicates[name] = tuple(sorted(repeated.values()))
    shared = {}
    for first, second in combinations(datalists, 2):
        subjects = _subjects(datalists[first]) & _subjects(datalists[second])
        if subjects:
            shared[first, second] = tuple(sorted(subjects))
    return LeakReport(duplicates, shared)


def drop_duplicates(items: Sequence[Item], *, source: object) -> list[Item]:
    """Return the items without those whose image came before, and warn with their names.

    Args:
        items: a datalist.
        source: where it came from, for the warning.
    """
    first = {item["image"]: item for item in reversed(items)}
    kept = [item for item in items if first[item["image"]] is item]
    if len(kept) < len(items):
        names = sorted({item["case"] for item in items if first[item["image"]] is not item})
        logger.warning("%s: dropped %d repeated row(s): %s", source, len(items) - len(kept), ", ".join(names))
    return kept


def drop_leaks(
    train: Sequence[Item], val: Sequence[Item], test: Sequence[Item] = ()
) -> tuple[list[Item], list[Item], list[Item]]:
    """Return the datalists with every subject in one of them only, and warn with the names of those dropped.

    Training loses a subject to validation and test, validation loses it to test, test loses nothing, so that the
    figures on the test set stay those of the whole test set.

    Args:
        train: datalist to train on.
        val: datalist to select a model on.
        test: datalist to report on.
    """
    kept_val = _without(val, _subjects(test), name="validation")
    kept_train = _without(train, _subjects(val) | _subjects(test), name="training")
    return kept_train, kept_val, list(test)


def _without(items: Sequence[Item], subjects: set[str], *, name: str) -> list[Item]:
    dropped = sorted(_subjects(items) & subjects)
    if dropped:
        logger.warning(
            "dropped %d subject(s) from %s that are in a later split too: %s", len(dropped), name, ", ".join(dropped)
        )
    return [item for item in items if item["subject"] not in subjects]


def _subjects(items: Iterable[Item]) -> set[str]:
    return {item["subject"] for item in items}
