"""The table of bounds makes sense on its own, and a number is held against it as it says."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from scripts.quality.bounds import BOUNDS, judge, range_text


@pytest.mark.parametrize("name", BOUNDS)
def test_every_bound_has_a_reason_and_words_for_each_closed_end(name):
    bound = BOUNDS[name]
    assert bound.why
    for side, words in ((0, bound.below), (1, bound.above)):
        ends = [limits[side] for limits in (bound.warn, bound.refuse) if limits[side] is not None]
        assert bool(ends) == bool(words)
        if len(ends) == 2:  # a warning comes before a refusal
            assert (ends[0] > ends[1]) if side == 0 else (ends[0] < ends[1])
    assert words.format(value=1.0) or bound.below.format(value=1.0)


@pytest.mark.parametrize(
    ("value", "passed", "fatal", "limits", "text"),
    [
        (1400, True, False, (900, 2400), "brain mask, in the scan's own mm"),
        (900, True, False, (900, 2400), "brain mask, in the scan's own mm"),
        (800, False, False, (900, 2400), "the brain mask holds only 800 ml (900 to 2400 ml)"),
        (499, False, True, (500, 2600), "the brain mask holds only 499 ml (500 to 2600 ml)"),
        (4000, False, True, (500, 2600), "the brain mask holds 4000 ml, more than a brain (500 to 2600 ml)"),
    ],
)
def test_a_number_passes_warns_or_refuses(value, passed, fatal, limits, text):
    check = judge("brain_volume_ml", value)
    assert (check.passed, check.fatal, (check.low, check.high), check.text) == (passed, fatal, limits, text)
    assert check.unit == "ml"


def test_infinity_fails_and_stays_writable_as_json():
    check = judge("noise_ratio", float("inf"))
    assert check.fatal
    assert check.text.endswith("is infinite: the brain has the same brightness nearly everywhere")
    assert json.loads(json.dumps(asdict(check), allow_nan=False))["value"] is None


def test_a_reason_replaces_the_words_of_a_refusal_only():
    assert judge("t1_fluid_contrast", 0.3, fatal_reason="looks like T2").text == "looks like T2"
    warned = judge("t1_fluid_contrast", -0.05, fatal_reason="looks like T2")
    assert warned.text == "fluid is hardly darker than tissue, unlike in T1 (at most -0.2)"


def test_ranges_in_words():
    assert [range_text(r, "mm") for r in ((None, 2.0), (0.5, None), (1, 2), (None, None))] == [
        "at most 2 mm",
        "at least 0.5 mm",
        "1 to 2 mm",
        "",
    ]
