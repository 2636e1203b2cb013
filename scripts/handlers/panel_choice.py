"""Which cases of an evaluation get a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.errors import InputError

__all__ = ["BEST_MEDIAN_WORST", "chosen_panels", "read_panels"]

BEST_MEDIAN_WORST = "best_median_worst"

Case = tuple[str, str]  # data set and name


def read_panels(panels: int | str) -> int | str:
    """Check the option `panels`.

    Raises:
        InputError: when it is none of "all", "best_median_worst" and a number of cases.
    """
    words = ("all", BEST_MEDIAN_WORST)
    if panels not in words and (isinstance(panels, bool) or not isinstance(panels, int) or panels < 0):
        raise InputError(f'`panels` must be "all", "{BEST_MEDIAN_WORST}" or a number of cases, got {panels!r}')
    return panels


def chosen_panels(rows: Sequence[Mapping[str, Any]], panels: int | str, *, volume: str | None) -> dict[Case, str]:
    """Choose cases.

    Args:
        rows: one per case, of the map in the pictures, in the order of the tables.
        panels: "all", the first so many, or "best_median_worst": of each data set the case with the highest, the middle
            and the lowest AUPRC; healthy cases by the volume in column `volume`, the smallest first.
        volume: column to judge healthy cases by; None without an operating point.

    Returns:
        {(data set, case): a word for the file's name, "" for none}.
    """
    keys = [(row["dataset"], row["case"]) for row in rows]
    if panels != BEST_MEDIAN_WORST:
        return dict.fromkeys(keys if panels == "all" else keys[: int(panels)], "")
    chosen: dict[Case, str] = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in keys):
        own = [row for row in rows if row["dataset"] == dataset]
        ranked = sorted(own, key=lambda row: _merit(row, volume), reverse=True)
        if any(row["lesion_ml"] > 0 for row in own):
            ranked = [row for row in ranked if not math.isnan(row["auprc"])]
        words = {0: "best", len(ranked) - 1: "worst", (len(ranked) - 1) // 2: "median"}
        # Of one or two cases the words coincide: best before worst, both before median.
        words |= {len(ranked) - 1: "worst"} | {0: "best"}
        chosen |= {(dataset, ranked[place]["case"]): word for place, word in words.items()}
    return chosen


def _merit(row: Mapping[str, Any], volume: str | None) -> tuple[float, str]:
    """Return a number that is higher for better cases; names make the order of equal ones certain."""
    value = -float(row.get(volume, 0.0)) if math.isnan(row["auprc"]) and volume else row["auprc"]
    return (-math.inf if math.isnan(value) else value), row["case"]
