"""Thresholds from healthy brains keep their false positive rate, and no lower threshold does."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.metrics.score_counts import ScoreCounts
from scripts.metrics.thresholds import threshold_at_rate


def healthy_threshold(volumes, rate):
    return threshold_at_rate(ScoreCounts.count(np.concatenate(volumes)), rate)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("decimals", [2, 6])
def test_threshold_is_the_lowest_score_that_keeps_the_rate(rate, decimals):
    rng = np.random.default_rng(0)
    volumes = [np.round(rng.gamma(2.0, size=n), decimals) for n in (300, 1200, 57)]
    pooled = np.concatenate(volumes)
    threshold = healthy_threshold(volumes, rate)
    assert np.mean(pooled >= threshold) <= rate
    lower = pooled[pooled < threshold].max()
    assert np.mean(pooled >= lower) > rate


def test_threshold_in_closed_form():
    assert healthy_threshold([np.arange(50), np.arange(50, 100)], 0.05) == 95


def test_volumes_are_pooled_by_voxel_not_by_volume():
    assert healthy_threshold([np.zeros(90), np.arange(1, 11)], 0.1) == 1


def test_when_the_highest_score_is_too_common_nothing_is_predicted():
    scores = np.ones(10, np.float32)
    threshold = healthy_threshold([scores], 0.05)
    assert threshold > 1
    assert not (scores >= np.float32(threshold)).any()


def test_lesion_voxels_do_not_count():
    counts = ScoreCounts.count([1, 2, 3, 4, 9], [0, 0, 0, 0, 1])
    assert threshold_at_rate(counts, 0.25) == 4


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"`rate` must be in \(0, 1\), got 1"):
        healthy_threshold([np.zeros(3)], 1)
    with pytest.raises(ValueError, match="`counts` must hold at least one healthy voxel, got none"):
        threshold_at_rate(ScoreCounts.empty(), 0.1)
