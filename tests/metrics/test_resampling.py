"""Bootstrap intervals and the paired permutation test, against theory and full enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from scripts.metrics.resampling import bootstrap_interval, permutation_test


def test_interval_of_many_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(values, num_rounds=4000, seed=1)
    half = 1.96 * values.std() / math.sqrt(len(values))
    # 4,000 rounds know a 2.5 % quantile to about 0.04 standard errors; 0.1 is wide enough for any seed.
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_interval_widens_with_its_level():
    values = np.random.default_rng(1).random(12)
    narrow, wide = (bootstrap_interval(values, num_rounds=2000, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high


def test_interval_leaves_nan_out_and_repeats_with_its_seed():
    values = [0.2, math.nan, 0.6, 0.4]
    first = bootstrap_interval(values, num_rounds=500, seed=3)
    assert first == bootstrap_interval([0.2, 0.6, 0.4], num_rounds=500, seed=3)
    assert first == bootstrap_interval(values, num_rounds=500, seed=3)


def test_interval_of_equal_values_is_a_point_and_of_one_value_unknown():
    assert bootstrap_interval([0.5, 0.5, 0.5], num_rounds=100) == (0.5, 0.5)
    assert all(math.isnan(end) for end in bootstrap_interval([0.5], num_rounds=100))
    assert all(math.isnan(end) for end in bootstrap_interval([], num_rounds=100))


def test_permutation_test_counts_every_sign_pattern_of_few_pairs():
    a, b = np.array([0.7, 0.5, 0.9, 0.4, 0.65]), np.array([0.6, 0.55, 0.7, 0.1, 0.5])
    difference = a - b
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product([1, -1], repeat=5)]
    expected = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-12)
    found = permutation_test(a, b)
    assert found.pvalue == pytest.approx(expected)
    assert found.mean_difference == pytest.approx(difference.mean())
    assert found.num_pairs == 5


def test_permutation_test_of_many_pairs_is_near_the_t_test():
    rng = np.random.default_rng(2)
    a = rng.normal(size=60)
    b = a + rng.normal(0.25, 1.0, 60)
    found = permutation_test(a, b, num_rounds=5000, seed=0)
    # The two tests agree asymptotically; 5,000 rounds know a p of 0.1 to 0.004.
    assert found.pvalue == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)
    assert found == permutation_test(a, b, num_rounds=5000, seed=0)


def test_equal_runs_do_not_differ_and_nan_pairs_are_left_out():
    assert permutation_test([0.1, 0.2, math.nan], [0.1, 0.2, 0.9]) == (0.0, 1.0, 2)
    empty = permutation_test([math.nan], [0.5])
    assert empty.num_pairs == 0
    assert math.isnan(empty.pvalue)


def test_global_random_state_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    bootstrap_interval([0.1, 0.2, 0.3], num_rounds=50)
    permutation_test(np.arange(20.0), np.arange(20.0)[::-1], num_rounds=50)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"`level` must be in \(0, 1\), got 95"):
        bootstrap_interval([0.1, 0.2], level=95)
    with pytest.raises(ValueError, match="`num_rounds` must be at least 1, got 0"):
        bootstrap_interval([0.1, 0.2], num_rounds=0)
    with pytest.raises(ValueError, match="`values` must have one axis"):
        bootstrap_interval([[0.1]])
    with pytest.raises(ValueError, match="must have one number per case each, got 2 and 1"):
        permutation_test([0.1, 0.2], [0.1])


def test_a_single_pair_has_a_difference_and_no_p_value() -> None:
    result = permutation_test([0.5, np.nan], [0.2, 0.3])
    assert (result.mean_difference, result.num_pairs) == (pytest.approx(0.3), 1)
    assert np.isnan(result.pvalue)
