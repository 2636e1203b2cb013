"""One scan's report: a single HTML file that opens from disk without a network.

The page holds its pictures, volumes and viewer as text, so that it can be mailed or archived alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from scripts.report.display import DisplayVolumes, display_volumes
from scripts.report.methods import CITATION, methods_text
from scripts.report.mosaic import draw_mosaic, draw_thumbnail
from scripts.report.page import asset, png_uri, render, show_number, show_value, small_png
from scripts.report.status import healthy_rank, scan_status
from scripts.report.tables import DASH, write_text
from scripts.report.viewer import VIEWER_SCRIPTS, make_viewer
from scripts.results.provenance import BUNDLE

__all__ = ["write_scan_page"]

_HIGH_END = (("p95", "95 % at most"), ("max", "highest"))
_INPUTS = {"image": "input", "brain_mask": "brain mask", "t1": "T1 of the session"}
_WHOLE = 0.995  # of a region's voxels, from which its lobe needs no share beside it
_LICENCES = ("niivue/LICENSE", "niivue/THIRD_PARTY_LICENSES.txt")


def write_scan_page(
    path: str | os.PathLike[str],
    *,
    result: Mapping[str, Any],
    volumes: Mapping[str, ArrayLike] | None = None,
    affine: ArrayLike | None = None,
    quality_picture: bytes | str | os.PathLike[str] | None = None,
    reconstruction_window: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Write the report of one scan: viewer, slices, candidate regions, quality checks, and how it was made.

    A result without a map (refused or failed) gets its reasons, its quality checks and the picture instead of the
    viewer. What the result does not hold is left out.

    Args:
        path: the HTML file. Links to the result's files are relative to its folder.
        result: the content of `result.json`.
        volumes: [H, W, D] each, on the scan's own grid: `image` and `anomaly_map`, and any of `reconstruction`,
            `lesion_mask` and `brain_mask`; None where there is no map.
        affine: [4, 4], voxel to the scanner's world (RAS), mm; needed with `volumes`.
        quality_picture: a PNG file, or its bytes, that shows why a scan was refused.
        reconstruction_window: values of the reconstruction that are drawn black and white; by default the network's
            scale, on which 0 and 1 are the 1st and 99th percentile of the input's brain.

    Raises:
        ValueError: when there are volumes but no affine, or volumes that do not fit each other.
    """
    if volumes is not None and affine is None:
        raise ValueError("`affine` must be given with `volumes`, got None")
    display = display_volumes(volumes, affine) if volumes and affine is not None and "anomaly_map" in volumes else None
    picture = _png_bytes(quality_picture)
    context = {
        "case": str(result.get("case") or "scan"),
        "headline": _headline(result),
        "modality": _modality(result),
        "status": scan_status(result),
        "facts": _facts(result),
        "threshold": result.get("threshold"),
        "threshold_source": result.get("threshold_source") or "not recorded",
        "healthy_marked": _healthy_marked(result),
        "origin": _origin(result),
        "methods": methods_text(result) if display is not None else [],
        "citation": CITATION,
        "reasons": list(result.get("reasons") or []),
        "reasons_title": "This scan was not analysed:" if display is None else "Please note:",
        "checks": [_check(check) for check in (result.get("quality") or {}).get("checks", [])],
        "checks_caption": _checks_caption(result.get("quality") or {}),
        "tables": _tables(result),
        "files": [(kind.replace("_", " "), name) for kind, name in _items(result, "files") if name],
        "quality_picture": png_uri(picture) if picture is not None else None,
        "thumbnail": png_uri(small_png(picture)) if picture is not None else None,
        "viewer": None,
        **(_viewer_context(display, result, reconstruction_window) if display is not None else {}),
    }
    write_text(path, render("scan_page.html", scripts=VIEWER_SCRIPTS if display is not None else (), **context))


def _viewer_context(
    display: DisplayVolumes, result: Mapping[str, Any], reconstruction_window: tuple[float, float]
) -> dict[str, Any]:
    """Return what the template needs beside the facts when there is a map."""
    threshold = result.get("threshold")
    alignment = (result.get("preprocessing") or {}).get("alignment") or {}
    number = result.get("num_regions")
    return {
        "viewer": make_viewer(
            display,
            threshold=threshold,
            world_to_template=alignment.get("world_to_template"),
            reconstruction_window=reconstruction_window,
        ),
        "regions": [_region(rank, region) for rank, region in enumerate(result.get("regions") or [], start=1)],
        "min_volume_ml": (result.get("parameters") or {}).get("min_volume_ml") or None,
        "mosaic": png_uri(draw_mosaic(display, threshold=threshold)),
        "mosaic_alt": f"Axial slices with {show_value(number)} outlined candidate region(s), and each slice's map.",
        "thumbnail": png_uri(draw_thumbnail(display)),
        "licences": [asset(name) for name in _LICENCES],
    }


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


def _png_bytes(picture: bytes | str | os.PathLike[str] | None) -> bytes | None:
    return picture if picture is None or isinstance(picture, bytes) else Path(picture).read_bytes()
