"""A scan's result in words: numbers, lesions, checks and settings as a reader wants them, without any HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.report.tables import DASH

__all__ = ["Status", "scan_status", "scan_words", "show_number", "show_value"]


@dataclass(frozen=True)
class Status:
    """How a scan or a check ended: a word, a sign and a tone, so that it is never said by a colour alone.

    Attributes:
        text: the word.
        symbol: a sign that differs between good, doubtful and bad.
        tone: class name in `page.css`: `good`, `warn` or `bad`.
    """

    text: str
    symbol: str
    tone: str


_SIGNS = {"good": "✓", "warn": "!", "bad": "✕"}
_TONES = {"ok": "good", "passed": "good", "warning": "warn", "forced": "warn", "refused": "bad", "failed": "bad"}


def scan_status(result: Mapping[str, Any]) -> Status:
    """Return what to show for `result["status"]`; a scan that was forced through the checks is told apart.

    Args:
        result: the content of `result.json`, or anything with a `status`.
    """
    text = str(result.get("status") or "unknown")
    if text == "ok" and (result.get("quality") or {}).get("forced"):
        text = "forced"
    tone = _TONES.get(text, "warn")
    return Status(text, _SIGNS[tone], tone)


def scan_words(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page of a scan says, as texts and lists of texts by the names in its template.

    Args:
        result: the content of `result.json`; what it does not hold is left out.
    """
    quality = result.get("quality") or {}
    number = show_value(result.get("num_lesions"))
    return {
        "case": str(result.get("case") or "scan"),
        "headline": _headline(result),
        "modality": _modality(result),
        "status": scan_status(result),
        "facts": _facts(result),
        "threshold": result.get("threshold"),
        "threshold_source": result.get("threshold_source") or "not recorded",
        "reasons": list(result.get("reasons") or []),
        "lesions": [_lesion(place, lesion) for place, lesion in enumerate(result.get("lesions") or [], start=1)],
        "checks": [_check(check) for check in quality.get("checks", [])],
        "checks_caption": _checks_caption(quality),
        "tables": _tables(result),
        "files": [(kind.replace("_", " "), name) for kind, name in _items(result, "files") if name],
        "mosaic_alt": f"Axial slices with {number} outlined lesion(s), and the anomaly map of each slice.",
    }


def show_number(value: Any, digits: int = 3) -> str:
    """Return a number with `digits` decimals, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}"


def show_value(value: Any) -> str:
    """Return any value of a result as short text: numbers with up to 5 digits, yes and no, lists with commas."""
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
    lesions = result.get("num_lesions") or 0
    ending = "" if lesions == 1 else "s"
    return (
        f"score {show_number(result['anomaly_score'])}, {lesions} lesion{ending}, "
        f"{show_number(result.get('lesion_volume_ml'), 1)} ml"
    )


def _modality(result: Mapping[str, Any]) -> str:
    name = str(result.get("modality") or "")
    return f"{name.upper()}w" if name in ("t1", "t2") else name


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the tiles at the top of the page; those without a value are left out."""
    tiles = [
        ("Scan-level score", "anomaly_score", 3, ""),
        ("p against healthy scans", "p_value", 2, ""),
        ("Lesions", "num_lesions", 0, ""),
        ("Lesion volume", "lesion_volume_ml", 1, " ml"),
        ("Threshold", "threshold", 3, ""),
        ("Brain volume", "brain_volume_ml", 0, " ml"),
    ]
    texts = [(title, show_number(result.get(key), digits), unit) for title, key, digits, unit in tiles]
    return [(title, text + unit) for title, text, unit in texts if text != DASH]


def _lesion(place: int, lesion: Mapping[str, Any]) -> dict[str, Any]:
    centre = [float(value) for value in lesion["centroid_mm"]]
    return {
        **lesion,
        "label": lesion.get("label", place),
        "jump": str(centre),
        "centroid": _point(centre),
        "centroid_mni": _point(lesion.get("centroid_mni_mm")),
    }


def _point(point: Any) -> str:
    return ", ".join(show_number(float(value), 1) for value in point) if point else DASH


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
    made = {key: result[key] for key in ("input", "device") if result.get(key) is not None}
    seconds = result.get("seconds")
    steps = seconds if isinstance(seconds, Mapping) else {"total": seconds} if seconds is not None else {}
    return [
        ("Preprocessing", [(_readable(name), text) for name, text in _flat(result.get("preprocessing") or {})], True),
        ("Parameters", list(_flat(result.get("parameters") or {})), False),
        ("Versions and weights", list(_flat({**made, **dict(_items(result, "versions")), "weights": weights})), False),
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
