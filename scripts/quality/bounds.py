"""What quality control measures, the bounds of each number and why they lie there, and the check against them."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BOUNDS", "OPEN", "Bound", "Check", "Range", "judge", "range_text"]

Range = tuple[float | None, float | None]
OPEN: Range = (None, None)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A number of quality control: outside of `warn` it is reported, outside of `refuse` the scan is refused.

    Attributes:
        label: what the number is.
        below: what is wrong when it is too small, with `{value}` for the number.
        above: what is wrong when it is too large.
        unit: its unit, empty for shares (0 to 1) and ratios.
        warn: range without a warning; None for an open end.
        refuse: range without a refusal.
        why: what the bounds go by.
    """

    label: str
    below: str = ""
    above: str = ""
    unit: str = ""
    warn: Range = OPEN
    refuse: Range = OPEN
    why: str


BOUNDS: dict[str, Bound] = {
    "voxel_edge_mm": Bound(
        label="longest voxel edge",
        above="voxels are {value:.1f} mm long",
        unit="mm",
        warn=(None, 4.0),
        refuse=(None, 10.0),
        why="up to 5 in the real scans (in-plane T2), which is reported; slices 10 mm apart skip most lesions",
    ),
    "voxel_anisotropy": Bound(
        label="longest over shortest voxel edge",
        above="voxels are {value:.1f} times as long as wide",
        warn=(None, 4.0),
        refuse=(None, 25.0),
        why="up to 3.3 in the real scans; above 25 the header's sizes cannot be those of a head scan",
    ),
    "num_slices": Bound(
        label="slices with brain",
        below="the brain lies in only {value:.0f} slices",
        warn=(20.0, None),
        refuse=(10.0, None),
        why="a brain of 130 mm in 5 mm slices has 26; the real scans have 28 or more",
    ),
    "distinct_values": Bound(
        label="different values in the brain",
        below="the brain holds only {value:.0f} different values, as a mask or a label map does",
        warn=(64.0, None),
        refuse=(16.0, None),
        why="8-bit scans have 126 and more, a tissue segmentation has 3",
    ),
    "saturated_share": Bound(
        label="share of the brain at the largest value",
        above="{value:.3g} of the brain has the largest value, as if clipped there",
        warn=(None, 0.02),
        refuse=(None, 0.5),
        why="0.1 % in the real scans, which were clipped on purpose; a window to the 99th percentile makes it 1 %, an "
        "oedema of 250 ml that is clipped 20 %",
    ),
    "negative_share": Bound(
        label="share of the brain below 0",
        above="{value:.3g} of the brain is below 0",
        warn=(None, 0.01),
        refuse=(None, 0.9),
        why="splines leave 0.1 %; half is below 0 in standardised scans, which still work",
    ),
    "spike_ratio": Bound(
        label="largest value over the 99th percentile, from the median",
        above="the brightest voxel is {value:.0f} times as far from the median as the 99th percentile",
        warn=(None, 30.0),
        why="up to 7 in the real scans (vessels); the percentile window takes spikes away",
    ),
    "noise_ratio": Bound(
        label="noise over the range of the brain's brightness",
        above="the noise is {value:.2f} of the range of brightness",
        warn=(None, 0.1),
        refuse=(None, 0.2),
        why="0.01 to 0.05 in the real scans, 0.30 in noise alone",
    ),
    "brightness_span": Bound(
        label="range of the brain's brightness over its height above the background",
        below="the brain's brightness varies by only {value:.3f} of its height above the background, as in CT",
        warn=(0.2, None),
        refuse=(0.1, None),
        why="0.54 and more in 60 real scans, about 0.03 in CT, whose air lies 1000 HU below",
    ),
    "brain_volume_ml": Bound(
        label="brain mask, in the scan's own mm",
        below="the brain mask holds only {value:.0f} ml",
        above="the brain mask holds {value:.0f} ml, more than a brain",
        unit="ml",
        warn=(900.0, 2400.0),
        refuse=(500.0, 2600.0),
        why="1.1 to 1.6 l in native space, 2.0 to 2.3 l in scans that were stretched to MNI152; children and shrunken "
        "brains have less, a head with its skull has 3.5 l and more",
    ),
    "brain_cut_share": Bound(
        label="cross-section of the brain where it ends, over the largest",
        above="the brain is cut off: it ends with {value:.3g} of its largest cross-section",
        warn=(None, 0.4),
        refuse=(None, 0.97),
        why="up to 0.16 in the real scans; of an ellipsoid 0.4 takes 4 %, 0.97 takes a third",
    ),
    "template_coverage": Bound(
        label="share of the template's brain in the field of view",
        below="the field of view holds only {value:.3g} of the brain",
        warn=(0.95, None),
        refuse=(0.75, None),
        why="a missing tip of the cerebellum is 2 to 5 %",
    ),
    "template_overlap": Bound(
        label="overlap (Dice) with the template's brain",
        below="the brain overlaps with the template's by a Dice of only {value:.2f}",
        warn=(0.85, None),
        refuse=(0.7, None),
        why="0.89 to 0.97 in aligned scans, 0.74 in one that was registered without a change of size and left there",
    ),
    "template_stretch": Bound(
        label="largest over smallest stretch of the alignment",
        above="the alignment stretches one direction {value:.1f} times as much as another",
        warn=(None, 1.35),
        why="up to 1.16 in the real scans; more means wrong voxel sizes or a poor alignment",
    ),
    "template_similarity": Bound(
        label="how the template's tissues explain the brightness, in the blocks that fit best",
        below="the scan looks unlike the template: its tissues explain the brightness by {value:.2f} only",
        warn=(0.5, None),
        refuse=(0.42, None),
        why="0.60 to 0.75 in 268 T1 (0.54 in the worst placed one), 0.60 to 0.68 in 14 T2, 0.54 and more in "
        "72 scans with lesions of 20 to 250 ml; noise 0.24 to 0.40, a brain upside down 0.40 to 0.46",
    ),
    "t1_fluid_contrast": Bound(
        label="correlation of brightness with fluid",
        above="fluid is hardly darker than tissue, unlike in T1",
        warn=(None, -0.2),
        refuse=(None, 0.0),
        why="−0.64 to −0.41 in 268 T1, −0.35 in the worst placed one, −0.61 to −0.46 in 30 with lesions; "
        "0.37 to 0.57 in T2-like and proton-density scans",
    ),
    "t2_fluid_contrast": Bound(
        label="correlation of brightness with fluid",
        below="fluid is hardly brighter than tissue, unlike in T2",
        warn=(0.1, None),
        refuse=(0.0, None),
        why="0.20 to 0.40 in 14 T2, 0.18 to 0.40 in 42 with lesions; −0.40 to −0.32 in FLAIR-like, CT-like and "
        "inverted scans",
    ),
    "t1_grey_white_contrast": Bound(
        label="grey against white matter, in deviations of a block's brightness",
        above="grey matter is hardly darker than white matter, unlike in T1",
        warn=(None, -0.4),
        refuse=(None, -0.15),
        why="−1.22 to −0.49 in 268 T1, −0.25 in the worst placed one, −1.13 to −0.50 in 30 with lesions; "
        "−0.09 to 0.40 in FLAIR-like and CT-like scans made of T1",
    ),
    "t2_grey_white_contrast": Bound(
        label="grey against white matter, in deviations of a block's brightness",
        below="grey matter is hardly brighter than white matter, unlike in T2",
        warn=(0.3, None),
        why="1.07 to 1.39 in 14 T2, 0.87 to 1.35 in 42 with lesions; less says only that the scan is unusual",
    ),
    "nonuniformity": Bound(
        label="differences of brightness across the white matter",
        above="the white matter's brightness differs by {value:.2f} of the brain's range from block to block",
        warn=(None, 0.7),
        why="up to 0.51 in the real scans; --bias_correction true evens it out",
    ),
}


def range_text(limits: Range, unit: str = "") -> str:
    """Return a range in words, such as "at most 2 mm"; empty text for one that is open on both ends.

    Examples:
        >>> range_text((None, 4.0), "mm")
        'at most 4 mm'
    """
    low, high = limits
    after = f" {unit}" if unit else ""
    if low is not None and high is not None:
        return f"{low:g} to {high:g}{after}"
    if low is None and high is None:
        return ""
    return f"at least {low:g}{after}" if low is not None else f"at most {high:g}{after}"


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


def judge(name: str, value: float, *, fatal_reason: str | None = None) -> Check:
    """Hold a number against its bounds.

    Args:
        name: key of `BOUNDS`.
        value: the number; infinity counts as any other, and stands as None in the check.
        fatal_reason: what to say when it refuses the scan, instead of the bound's own text with the range.

    Returns:
        The check, with the range that it failed, or the narrower one that it passed.

    Examples:
        >>> check = judge("num_slices", 15)
        >>> check.passed, check.fatal, check.text
        (False, False, 'the brain lies in only 15 slices (at least 20)')
    """
    bound, value = BOUNDS[name], float(value)
    fatal = not _inside(value, bound.refuse)
    passed = not fatal and _inside(value, bound.warn)
    low, high = bound.refuse if fatal or bound.warn == OPEN else bound.warn
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


def _inside(value: float, limits: Range) -> bool:
    low, high = limits
    return (low is None or value >= low) and (high is None or value <= high)
