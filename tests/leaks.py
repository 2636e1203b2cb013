"""What splits must not share, found by sets of names alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple


class Leaks(NamedTuple):
    """Cases listed twice, by split, and subjects that two splits share, by pair; true if there is anything."""

    duplicates: dict[str, tuple[str, ...]]
    shared: dict[tuple[str, str], tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.duplicates or self.shared)


def find_leaks(lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> Leaks:
    images = {name: Counter((item["image"], item["case"]) for item in items) for name, items in lists.items()}
    twice = {name: tuple(sorted(c for (_, c), n in counts.items() if n > 1)) for name, counts in images.items()}
    subjects = {name: {item["subject"] for item in items} for name, items in lists.items()}
    shared = {(a, b): tuple(sorted(subjects[a] & subjects[b])) for a, b in combinations(lists, 2)}
    return Leaks({name: cases for name, cases in twice.items() if cases}, {k: v for k, v in shared.items() if v})
