"""A scan's result in words: numbers, regions, changes, checks, settings, and sentences for a paper; no HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.report.display import CHANGES
from scripts.report.tables import DASH
from scripts.results import BUNDLE

__all__ = [
    "CITATION",
    "Status",
    "change_words",
    "healthy_rank",
    "methods_text",
    "scan_status",
    "scan_words",
    "show_number",
    "show_value",
]

_HIGH_END = (("p95", "95 % at most"), ("max", "highest"))
_INPUTS = {"image": "input", "brain_mask": "brain mask", "t1": "T1 of the session"}
_WHOLE = 0.995  # of a region's voxels, from which its lobe needs no share beside it


@dataclass(frozen=True)
class Status:
    """How a scan or a check ended: a word, a sign and a tone, so that it is never said by a colour alone.

    Attributes:
        text: the word.
        symbol: a sign that differs between good, doubtful and bad; none where nothing is judged.
        tone: class name in `page.css`: `plain`, `good`, `warn` or `bad`.
    """

    text: str
    symbol: str
    tone: str


_SIGNS = {"plain": "", "good": "✓", "warn": "!", "bad": "✕"}
_TONES = {
    "analysed": "plain", "ok": "good", "passed": "good", "warning": "warn", "forced": "warn", "refused": "bad",
    "failed": "bad",
}  # fmt: skip


def scan_status(result: Mapping[str, Any], *, done: str = "analysed") -> Status:
    """Return what to show for `result["status"]`; a scan that was forced through the checks has a word of its own.

    A scan with a map is "analysed", without a sign or a colour: a tick beside a patient's name reads as "healthy".

    Args:
        result: the content of `result.json`, or anything with a `status`.
        done: the word for the status `ok`.
    """
    text = str(result.get("status") or "unknown")
    if text == "ok" and (result.get("quality") or {}).get("forced"):
        text = "forced"
    text = done if text == "ok" else text
    tone = _TONES.get(text, "warn")
    return Status(text, _SIGNS[tone], tone)


def healthy_rank(result: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the rank of a scan's score among healthy scans, and what its p-value is worth; None where not known.

    Args:
        result: `healthy_rank` (1 for the highest score), `num_healthy_scans`, `p_value` and `lowest_p_value` of
            `result.json`.

    Returns:
        Such as "rank 1 of 16" and "15 healthy scans and this one; p = 0.06, the lowest possible".
    """
    rank, count, p_value = (result.get(key) for key in ("healthy_rank", "num_healthy_scans", "p_value"))
    if rank is None or not count or p_value is None:
        return None
    lowest = float(result.get("lowest_p_value") or 1 / (count + 1))
    worth = "the lowest possible" if p_value <= lowest * (1 + 1e-9) else f"the lowest possible is {lowest:.2g}"
    return f"rank {rank} of {count + 1}", f"{count} healthy scans and this one; p = {p_value:.2g}, {worth}"


def scan_words(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page of a scan says, as texts and lists of texts by the names in its template.

    Args:
        result: the content of `result.json`; what it does not hold is left out.
    """
    quality = result.get("quality") or {}
    number = show_value(result.get("num_regions"))
    return {
        "case": str(result.get("case") or "scan"),
        "headline": _headline(result),
        "modality": _modality(result),
        "status": scan_status(result),
        "facts": _facts(result),
        "threshold": result.get("threshold"),
        "threshold_source": result.get("threshold_source") or "not recorded",
        "healthy_marked": _healthy_marked(result),
        "origin": _origin(result),
        "reasons": list(result.get("reasons") or []),
        "regions": [_region(rank, region) for rank, region in enumerate(result.get("regions") or [], start=1)],
        "min_volume_ml": (result.get("parameters") or {}).get("min_volume_ml") or None,
        "checks": [_check(check) for check in quality.get("checks", [])],
        "checks_caption": _checks_caption(quality),
        "tables": _tables(result),
        "files": [(kind.replace("_", " "), name) for kind, name in _items(result, "files") if name],
        "mosaic_alt": f"Axial slices with {number} outlined candidate region(s), and each slice's map.",
    }


def show_number(value: Any, digits: int = 3) -> str:
    """Return a number with `digits` decimals, or a dash where there is none.

    Examples:
        >>> show_number(2.0, 1), show_number(float("nan"))
        ('2.0', '–')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}"


def show_value(value: Any) -> str:
    """Return any value of a result as short text: numbers with up to 5 digits, yes and no, lists with commas.

    Examples:
        >>> show_value([1.0, 2.5]), show_value(True), show_value(None)
        ('1, 2.5', 'yes', '–')
    """
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        rows = any(isinstance(item, list | tuple) for item in value)
        return ("\n" if rows else ", ").join(show_value(item) for item in value)
    return str(value)


def _headline(result: Mapping[str, Any]) -> str:
    """Return the page's title after the case's name."""
    if result.get("anomaly_score") is None:
        return str(result.get("status", "no result"))
    regions = result.get("num_regions") or 0
    ending = "" if regions == 1 else "s"
    return (
        f"score {show_number(result['anomaly_score'])}, {regions} candidate region{ending}, "
        f"{show_number(result.get('region_volume_ml'), 1)} ml"
    )


def _modality(result: Mapping[str, Any]) -> str:
    name = str(result.get("modality") or "")
    return f"{name.upper()}w" if name in ("t1", "t2") else name


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return title, text and note of the tiles at the top of the page; those without a value are left out."""
    marked = _healthy_marked(result)
    healthy = f"in healthy subjects: {marked}" if marked else ""
    tiles = [
        ("Scan-level score", "anomaly_score", 3, "", ""),
        ("Candidate regions", "num_regions", 0, "", ""),
        ("Volume of the regions", "region_volume_ml", 1, " ml", healthy),
        ("Threshold", "threshold", 3, "", ""),
        ("Brain volume", "brain_volume_ml", 0, " ml", ""),
    ]
    texts = [(title, show_number(result.get(key), digits), unit, note) for title, key, digits, unit, note in tiles]
    facts = [(title, text + unit, note) for title, text, unit, note in texts if text != DASH]
    rank = healthy_rank(result)
    return facts if rank is None else [*facts[:1], ("Score among healthy scans", *rank), *facts[1:]]


def _healthy_marked(result: Mapping[str, Any]) -> str | None:
    """Say what the threshold marks in healthy subjects; None where that was not measured for this threshold."""
    marked = result.get("healthy_false_positive_ml")
    if not isinstance(marked, Mapping) or marked.get("median") is None:
        return None
    high = next(((word, marked[key]) for key, word in _HIGH_END if marked.get(key) is not None), None)
    ending = f", {high[0]} {show_number(float(high[1]), 1)} ml" if high else ""
    count = f" ({marked['n']} scans)" if marked.get("n") else ""
    return f"median {show_number(float(marked['median']), 1)} ml{ending}{count}"


def _origin(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what identifies a result, in a table that is always open and printed."""
    versions, weights = dict(_items(result, "versions")), dict(_items(result, "weights"))
    checksums = [(f"SHA-256 of the {_INPUTS.get(name, name)}", text) for name, text in _items(result, "input_sha256")]
    rows = [
        ("Made on", result.get("date")),
        ("Input", result.get("input")),
        *checksums,
        ("Version of the bundle", versions.get(BUNDLE)),
        ("Weights", weights.get("file")),
        ("SHA-256 of the weights", weights.get("sha256")),
        ("Licence of the weights", weights.get("licence")),
        ("Device", result.get("device")),
    ]
    return [(name, show_value(value)) for name, value in rows if value not in (None, "")]


def _region(rank: int, region: Mapping[str, Any]) -> dict[str, Any]:
    peak = [float(value) for value in region["peak_mm"]]
    share = region.get("lobe_share")
    return {
        **{key: region.get(key) for key in ("volume_ml", "evidence", "peak")},
        "rank": region.get("rank", rank),
        "place": region.get("place") or DASH,
        "share": f"{share:.0%} of it" if isinstance(share, float) and share < _WHOLE else "",
        "jump": str(peak),
        "peak_at": ", ".join(str(round(value)) for value in region.get("peak_mni_mm") or ()) or DASH,
    }


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the quality table."""
    unit = f" {check['unit']}" if check.get("unit") else ""
    low, high = check.get("low"), check.get("high")
    bounds = {
        (True, True): f"{show_value(low)} to {show_value(high)}{unit}",
        (True, False): f"at least {show_value(low)}{unit}",
        (False, True): f"at most {show_value(high)}{unit}",
        (False, False): DASH,
    }[low is not None, high is not None]
    return {
        "text": check.get("text") or check.get("name"),
        "value": show_value(check.get("value")) + (unit if check.get("value") is not None else ""),
        "bounds": bounds,
        "state": scan_status({"status": _check_state(check)}),
    }


def _check_state(check: Mapping[str, Any]) -> str:
    if check.get("passed"):
        return "passed"
    return "failed" if check.get("fatal") else "warning"


def _checks_caption(quality: Mapping[str, Any]) -> str:
    """Say what the checks meant for the scan."""
    if quality.get("forced"):
        return "A check failed that would have refused this scan; it was analysed because that was forced."
    return "A scan is refused when a check fails; a warning lets it pass."


def _tables(result: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]], bool]]:
    """Return title, rows and whether it starts open, for each table of how the result was made."""
    weights = dict(_items(result, "weights"))
    seconds = result.get("seconds")
    steps = seconds if isinstance(seconds, Mapping) else {"total": seconds} if seconds is not None else {}
    return [
        ("Preprocessing", [(_readable(name), text) for name, text in _flat(result.get("preprocessing") or {})], True),
        ("Parameters", list(_flat(result.get("parameters") or {})), False),
        ("Versions and weights", list(_flat({**dict(_items(result, "versions")), "weights": weights})), False),
        ("Seconds by step", [(name, show_number(float(value), 2)) for name, value in steps.items()], False),
    ]


def _items(result: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    value = result.get(key)
    return [(str(name), item) for name, item in value.items()] if isinstance(value, Mapping) else []


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Walk through nested facts and give each a name and a text."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", show_value(value)


def _readable(name: str) -> str:
    """Turn `volume_ml` into `volume (ml)`."""
    for unit in ("ml", "mm"):
        if name.endswith(f"_{unit}"):
            name = f"{name.removesuffix(f'_{unit}')} ({unit})"
    return name.replace("_", " ")


_UNCHANGED = "unchanged"


def change_words(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the page says of the changes; None where the scan was not compared with another one.

    Args:
        result: the content of `result.json`.
    """
    change = result.get("change")
    if not isinstance(change, Mapping):
        return None
    words: dict[str, Any] = {"baseline": str(change.get("baseline")), "reasons": list(change.get("reasons") or [])}
    words |= {"date": change.get("baseline_date"), "done": change.get("status") == "ok"}
    if not words["done"]:
        return words
    alignment, rules = change["alignment"], change["rules"]
    rows = change["regions"]
    words["tiles"] = [
        (kind.capitalize(), str(change[kind]["count"]), f"{show_number(change[kind]['change_ml'], 1)} ml")
        for kind in CHANGES
        if kind != _UNCHANGED
    ]
    words["colours"] = CHANGES
    words["rows"] = [_change_row(row) for row in rows]
    words["fit"] = (
        f"Between the sessions the head turned by {show_number(alignment['turn_deg'], 1)}° and moved by "
        f"{show_number(alignment['shift_mm'], 1)} mm; aligned, the brains overlap by "
        f"{show_number(alignment['overlap'], 2)} (Dice) and the scans correlate by "
        f"{show_number(alignment['similarity'], 2)}."
    )
    words["rules"] = (
        f"A region counts as changed where its volume differs by at least {rules['min_change_ml']:g} ml and "
        f"{rules['min_change_share']:.0%} of the larger volume, and the map by at least {rules['min_difference']:.3g} "
        f"on average; regions closer than {rules['tolerance_mm']:g} mm are taken together."
    )
    left_out = change.get("not_compared_ml") or 0
    words["left_out"] = f"{show_number(float(left_out), 1)} ml" if left_out > 0 else None
    return words


def _change_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("rank", "change", "before_ml", "after_ml", "change_ml", "difference")},
        "place": row.get("place") or DASH,
        "jump": str([float(value) for value in row["peak_mm"]]),
    }


CITATION = """\
@inproceedings{behrendt2024mahalanobis,
  author    = {Behrendt, Finn and others},
  title     = {Leveraging the {Mahalanobis} Distance to enhance Unsupervised Brain {MRI} Anomaly Detection},
  booktitle = {Medical Image Computing and Computer Assisted Intervention (MICCAI)},
  year      = {2024},
  doi       = {10.1007/978-3-031-72120-5_37}
}
"""
_RESIDUALS = {"ssim": "1 − SSIM", "l1": "the absolute error", "l2": "the squared error"}


def methods_text(result: Mapping[str, Any]) -> list[str]:
    """Return sentences about how a scan with a map was analysed; what the result does not hold is left out.

    Args:
        result: the content of `result.json`.
    """
    settings, steps = result.get("parameters") or {}, result.get("preprocessing") or {}
    version = (result.get("versions") or {}).get(BUNDLE)
    scan = {"t1": "T1-weighted scan", "t2": "T2-weighted scan"}.get(str(result.get("modality")), "scan")
    sentences = [f"The {scan} was analysed with {BUNDLE}{f' {version}' if version else ''}."]
    sentences += _preparation(steps)
    if "num_samples" in settings and "timestep" in settings:
        sentences.append(
            f"A diffusion model that learnt healthy brains only reconstructed each axial slice "
            f"{settings['num_samples']} times from {settings.get('noise', '')} noise at timestep "
            f"{settings['timestep']}.".replace("  ", " ")
        )
    residual = _RESIDUALS.get(str(settings.get("residual")))
    sentences.append(
        "The anomaly map is the Mahalanobis distance of the scan from these reconstructions"
        + (f", weighted by {residual} between the scan and their mean." if residual else ".")
    )
    return [*sentences, *_regions_text(result, settings)]


def _preparation(steps: Mapping[str, Any]) -> list[str]:
    brain = (steps.get("brain_extraction") or {}).get("method")
    alignment = (steps.get("alignment") or {}).get("method")
    found = [f"The brain mask came from: {brain}."] if brain else []
    return found + ([f"It was placed on MNI152 by: {alignment}."] if alignment else [])


def _regions_text(result: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    if result.get("threshold") is None:
        return []
    smallest = settings.get("min_volume_ml")
    kept = f" of at least {smallest:g} ml" if isinstance(smallest, int | float) and smallest > 0 else ""
    return [
        f"Voxels of the map at or above {result['threshold']:.5g} that touch each other (by a face, edge or corner) "
        f"form a candidate region; regions{kept} are listed, ranked by the map's excess over the threshold summed over "
        "their volume. Names follow the nearest of a set of landmarks in MNI152."
    ]
