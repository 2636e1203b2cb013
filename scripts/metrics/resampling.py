"""What a mean over few cases is worth: spread, bootstrap interval and a paired permutation test."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scripts.errors import InputError

__all__ = ["Interval", "PermutationResult", "bootstrap_interval", "permutation_test"]


class Interval(NamedTuple):
    """Ends of a confidence interval, in the unit of the values."""

    low: float
    high: float


class PermutationResult(NamedTuple):
    """Outcome of a paired permutation test.

    Attributes:
        mean_difference: mean of a - b over the pairs used, in the unit of the values.
        pvalue: two-sided, in (0, 1]; NaN with fewer than two pairs.
        num_pairs: pairs used.
    """

    mean_difference: float
    pvalue: float
    num_pairs: int


def bootstrap_interval(values: ArrayLike, *, num_rounds: int = 10_000, level: float = 0.95, seed: int = 0) -> Interval:
    """Estimate a confidence interval of the mean over cases with the percentile bootstrap.

    The percentile form always exists, also for the few cases and repeated values met here; it is a little too narrow
    for fewer than about 20 cases.

    Args:
        values: [N], one number per case; NaN (a case without a lesion) is left out.
        num_rounds: number of resamples.
        level: coverage, in (0, 1).
        seed: of the resampling; the global random state is not touched.

    Returns:
        The interval; (NaN, NaN) with fewer than two values.

    Raises:
        InputError: when `values` is not one-dimensional, `level` is out of range or `num_rounds` is below 1.

    References:
        Efron, Tibshirani 1993, An Introduction to the Bootstrap, doi:10.1201/9780429246593, chapter 13.
    """
    if not 0 < level < 1:
        raise InputError(f"`level` must be in (0, 1), got {level}")
    _check_rounds(num_rounds)
    known = _vector(values, "values")
    known = known[~np.isnan(known)]
    if known.size < 2:
        return Interval(math.nan, math.nan)
    result = stats.bootstrap(
        (known,),
        np.mean,
        n_resamples=num_rounds,
        batch=1000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def permutation_test(a: ArrayLike, b: ArrayLike, *, num_rounds: int = 10_000, seed: int = 0) -> PermutationResult:
    """Test whether two runs differ on the same cases by swapping the runs at random within each case.

    Swapping a pair flips the sign of its difference; the statistic is the mean difference, two-sided. When 2^N is at
    most `num_rounds`, all sign patterns are counted instead of sampled, and the p-value is exact.

    Args:
        a: [N], a metric of the first run, one number per case.
        b: [N], the same metric of the second run for the same cases in the same order.
        num_rounds: number of patterns.
        seed: of the patterns; the global random state is not touched.

    Returns:
        The result over the pairs in which neither number is NaN; the p-value of fewer than two pairs is NaN.

    Raises:
        InputError: when the inputs are not vectors of one length or `num_rounds` is below 1.
    """
    _check_rounds(num_rounds)
    first, second = _vector(a, "a"), _vector(b, "b")
    if first.shape != second.shape:
        raise InputError(f"`a` and `b` must have one number per case each, got {first.size} and {second.size}")
    used = ~(np.isnan(first) | np.isnan(second))
    difference = first[used] - second[used]
    if used.sum() < 2:  # one pair has two patterns that differ by their sign alone: no test
        return PermutationResult(float(difference.mean()) if used.any() else math.nan, math.nan, int(used.sum()))
    result = stats.permutation_test(
        (first[used], second[used]),
        lambda x, y, axis=-1: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=num_rounds,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return PermutationResult(float(difference.mean()), float(result.pvalue), int(used.sum()))


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return `values` as a float64 vector."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"`{name}` must have one axis, got shape {array.shape}")
    return array


def _check_rounds(num_rounds: int) -> None:
    """Refuse a number of rounds below one."""
    if num_rounds < 1:
        raise InputError(f"`num_rounds` must be at least 1, got {num_rounds}")
