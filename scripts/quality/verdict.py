"""One number held against its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.quality.bounds import BOUNDS, OPEN, Range, range_text

__all__ = ["Check", "chosen_ranges", "judge"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the result: what was measured, the range that it was held against, and the answer.

    Attributes:
        name: key of `BOUNDS`, or `header` or `orientation`.
        text: what was measured or, if the check failed, what is wrong.
        value: the number; None where there is none.
        low: least allowed value, None for any.
        high: largest allowed value, None for any.
        unit: of value and range.
        passed: whether the value lies in the range.
        fatal: whether the scan is refused for it; a failed check that is not fatal is a warning.
    """

    name: str
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    passed: bool = True
    fatal: bool = False


def chosen_ranges(bounds: Mapping[str, Range] | None) -> dict[str, Range]:
    """Return the range of each number outside of which a scan is refused.

    Args:
        bounds: ranges that replace those of `BOUNDS`; None for an open end.

    Raises:
        ValueError: if a name is unknown or a range is not two numbers or None, the first the smaller.
    """
    ranges = {name: bound.refuse for name, bound in BOUNDS.items()}
    for name, pair in (bounds or {}).items():
        if name not in BOUNDS:
            raise ValueError(f"`bounds` must have names out of {', '.join(BOUNDS)}, got {name!r}")
        if not _is_range(pair):
            raise ValueError(f"`bounds[{name!r}]` must be two numbers or None, low and high, got {pair!r}")
        ranges[name] = (pair[0], pair[1])
    return ranges


def judge(name: str, value: float, refuse: Range, *, fatal_reason: str | None = None) -> Check:
    """Hold a number against its bounds.

    Args:
        name: key of `BOUNDS`.
        value: the number; infinity counts as any other, and stands as None in the check.
        refuse: the range outside of which the scan is refused.
        fatal_reason: what to say when it refuses the scan, instead of the bound's own text with the range.

    Returns:
        The check, with the range that it failed, or the narrower one that it passed.
    """
    bound, value = BOUNDS[name], float(value)
    fatal = not _inside(value, refuse)
    passed = not fatal and _inside(value, bound.warn)
    low, high = refuse if fatal or bound.warn == OPEN else bound.warn
    text = bound.label
    if fatal and fatal_reason:
        text = fatal_reason
    elif not passed and math.isinf(value):
        text = f"{bound.label} is infinite: the brain has the same brightness nearly everywhere"
    elif not passed:
        wrong = bound.below if low is not None and value < low else bound.above
        text = f"{(wrong or bound.label).format(value=value)} ({range_text((low, high), bound.unit)})"
    number = value if math.isfinite(value) else None
    return Check(name=name, text=text, value=number, low=low, high=high, unit=bound.unit, passed=passed, fatal=fatal)


def _is_range(pair: object) -> bool:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return False
    ends = [end for end in pair if end is not None]
    return all(isinstance(end, int | float) for end in ends) and ends == sorted(ends)


def _inside(value: float, limits: Range) -> bool:
    low, high = limits
    return (low is None or value >= low) and (high is None or value <= high)
