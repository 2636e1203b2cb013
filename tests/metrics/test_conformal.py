"""Split-conformal p-values."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.metrics.thresholds import conformal_p_value, largest_p_value


def test_value_is_the_rank_among_the_healthy() -> None:
    healthy = [0.1, 0.2, 0.3, 0.4]
    assert [conformal_p_value(s, healthy) for s in (0.5, 0.4, 0.25, 0.0)] == [0.2, 0.4, 0.6, 1.0]


def test_healthy_scans_fall_below_a_level_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [conformal_p_value(s[0], s[1:]) for s in rng.standard_cauchy((4000, 20))]
    for level in (0.05, 0.1, 0.5):
        share = np.mean(np.array(found) <= level)
        assert share <= level + 3 * np.sqrt(level * (1 - level) / 4000), "three standard errors of 4,000 draws"


@pytest.mark.parametrize(("score", "healthy"), [(float("nan"), [1.0]), (1.0, [float("inf")]), (1.0, [])])
def test_nothing_to_compare_with_is_an_error(score: float, healthy: list[float]) -> None:
    with pytest.raises(ValueError, match="must"):
        conformal_p_value(score, healthy)


def test_of_several_groups_the_one_that_knows_such_scores_counts() -> None:
    groups = {"quiet scanner": [0.1, 0.2, 0.3], "noisy scanner": [0.7, 0.8, 0.9]}
    assert largest_p_value(0.75, groups) == pytest.approx(3 / 4)
    assert largest_p_value(1.0, groups) == pytest.approx(1 / 4)
    with pytest.raises(ValueError, match="must hold at least one group"):
        largest_p_value(1.0, {})
