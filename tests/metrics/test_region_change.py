"""Regions between two sessions, against what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.metrics.region_change import Change, ChangeRules, count_changes, region_changes

AFFINE = np.diag([-2.0, 2.0, 2.5, 1.0]) + np.array([[0, 0, 0, 30.0], [0, 0, 0, -20.0], [0, 0, 0, 5.0], [0, 0, 0, 0]])
VOXEL_ML = 0.01
RULES = ChangeRules(tolerance_mm=4.0, min_change_ml=0.1, min_change_share=0.25, min_difference=0.5)
SHAPE = (40, 30, 20)


def compare(before, after, *, before_map=None, after_map=None, rules=RULES, **options):
    """Compare masks whose maps are 3 inside and 1 outside, unless they are given."""
    one, other = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for mask, boxes in ((one, before), (other, after)):
        for box in boxes:
            mask[box] = True
    maps = [np.where(mask, 3.0, 1.0) if given is None else given for mask, given in ((one, before_map), (other, after_map))]
    return region_changes(one, other, (maps[1] - maps[0]).astype(np.float32), AFFINE, rules=rules, **options)


SMALL, LARGE = np.s_[4:8, 4:8, 4:8], np.s_[4:10, 4:10, 4:10]  # 64 and 216 voxels
FAR = np.s_[25:30, 20:25, 10:14]  # 100


@pytest.mark.parametrize(
    ("before", "after", "kind", "before_ml", "after_ml", "difference"),
    [
        ([], [SMALL], Change.NEW, 0, 0.64, 2.0),
        ([SMALL], [], Change.VANISHED, 0.64, 0, -2.0),
        ([SMALL], [LARGE], Change.GROWN, 0.64, 2.16, 2.0),
        ([LARGE], [SMALL], Change.SHRUNKEN, 2.16, 0.64, -2.0),
        ([SMALL], [SMALL], Change.UNCHANGED, 0.64, 0.64, 0.0),
    ],
)
def test_each_kind_of_change_has_its_volumes_and_difference(before, after, kind, before_ml, after_ml, difference):
    (row,), numbers = compare(before, after)
    assert row["change"] == kind
    assert (row["before_ml"], row["after_ml"]) == pytest.approx((before_ml, after_ml))
    assert row["change_ml"] == pytest.approx(after_ml - before_ml)
    assert row["difference"] == pytest.approx(difference)
    assert row["evidence"] == pytest.approx(difference * (abs(after_ml - before_ml) or after_ml))
    assert set(np.unique(numbers)) == {0, kind.number}
    assert (numbers > 0).sum() * VOXEL_ML == pytest.approx(max(before_ml, after_ml))


def test_a_region_that_splits_or_moves_by_less_than_the_tolerance_stays_one():
    first, second = np.s_[4:8, 4:8, 4:6], np.s_[4:8, 4:8, 7:9]  # a gap of one slice, 2.5 mm
    (row,), _ = compare([np.s_[4:8, 4:8, 4:9]], [first, second])
    assert row["change"] == Change.UNCHANGED  # 0.64 of 0.8 ml
    (moved,), _ = compare([np.s_[4:8, 4:8, 4:8]], [np.s_[8:12, 4:8, 4:8]])  # side by side, no voxel in common
    assert moved["change"] == Change.UNCHANGED
    rows, _ = compare([SMALL], [FAR])
    assert [row["change"] for row in rows] == ["new", "vanished"]  # 1 ml, then 0.64


@pytest.mark.parametrize(
    ("rules", "after_map"),
    [
        (ChangeRules(min_change_ml=0.7, min_difference=0.5), None),  # too small
        (ChangeRules(min_change_ml=0.1, min_difference=2.5), None),  # the map changed by 2 only
    ],
)
def test_less_than_the_rules_ask_for_is_no_change(rules, after_map):
    (row,), _ = compare([], [SMALL], rules=rules, after_map=after_map)
    assert row["change"] == Change.UNCHANGED


@pytest.mark.parametrize(("before", "after", "kind"), [(SMALL, LARGE, Change.NEW), (LARGE, SMALL, Change.VANISHED)])
def test_what_is_smaller_than_the_smallest_change_is_no_region_to_grow_from_or_left_over(before, after, kind):
    (row,), _ = compare([before], [after], rules=ChangeRules(min_change_ml=0.7, min_difference=0.5))
    assert row["change"] == kind
    assert min(row["before_ml"], row["after_ml"]) == pytest.approx(0.64)


def test_a_share_of_the_larger_volume_is_needed_both_ways():
    most = np.s_[4:10, 4:10, 4:9]  # 180 of 216 voxels
    for before, after in (([most], [LARGE]), ([LARGE], [most])):
        (row,), _ = compare(before, after)
        assert row["change"] == Change.UNCHANGED
        assert abs(row["change_ml"]) == pytest.approx(0.36)


def test_the_peak_is_where_the_maps_differ_most_among_what_changed():
    after_map = np.where(np.isin(np.arange(SHAPE[0]), range(4, 10))[:, None, None], 3.0, 3.0) * np.ones(SHAPE)
    after_map[9, 9, 9], after_map[5, 5, 5] = 7.0, 9.0  # the latter is in the region before, too
    (row,), _ = compare([SMALL], [LARGE], before_map=np.ones(SHAPE), after_map=after_map)
    assert row["peak_mm"] == pytest.approx((AFFINE @ [9, 9, 9, 1])[:3])


def test_places_come_from_all_voxels_and_changes_are_ranked_before_the_rest():
    seen = []

    def place_of(points):
        seen.append(points)
        return {"place": "somewhere"}

    rows, _ = compare([FAR], [FAR, SMALL], world_to_template=np.eye(4), place_of=place_of)
    assert [(row["rank"], row["change"], row["place"]) for row in rows] == [(1, "new", "somewhere"), (2, "unchanged", "somewhere")]
    voxels = np.argwhere(np.ones((4, 4, 4))) + 4
    np.testing.assert_allclose(seen[0], voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3])
    assert rows[0]["peak_mni_mm"] == rows[0]["peak_mm"]


def test_counts_add_up_and_nothing_at_all_is_no_region():
    rows, _ = compare([FAR], [SMALL])
    found = count_changes(rows)
    assert found["new"] == {"count": 1, "change_ml": pytest.approx(0.64)}
    assert found["vanished"] == {"count": 1, "change_ml": pytest.approx(-1.0)}
    assert found["grown"] == {"count": 0, "change_ml": 0.0}
    assert (found["before_ml"], found["after_ml"]) == pytest.approx((1.0, 0.64))
    none, numbers = compare([], [])
    assert none == []
    assert not numbers.any()
