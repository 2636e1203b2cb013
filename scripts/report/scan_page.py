"""One scan's report: a single HTML file that opens from disk without a network.

The page holds its pictures, volumes and viewer as text, so that it can be mailed or archived alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from scripts.report.display import DisplayVolumes, display_volumes
from scripts.report.methods import CITATION, methods_text
from scripts.report.mosaic import draw_mosaic, draw_thumbnail
from scripts.report.page import asset, png_uri, render, small_png
from scripts.report.tables import write_text
from scripts.report.viewer import VIEWER_SCRIPTS, make_viewer
from scripts.report.words import scan_words

__all__ = ["write_scan_page"]

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
    has_map = bool(volumes) and "anomaly_map" in (volumes or {})
    picture = _png_bytes(quality_picture)
    context = {
        **scan_words(result),
        "methods": methods_text(result) if has_map else [],
        "citation": CITATION,
        "reasons_title": "Please note:" if has_map else "This scan was not analysed:",
        "quality_picture": png_uri(picture) if picture is not None else None,
        "thumbnail": png_uri(small_png(picture)) if picture is not None else None,
        "viewer": None,
    }
    if has_map and volumes is not None and affine is not None:
        context |= _pictures(display_volumes(volumes, affine), result, reconstruction_window)
    write_text(path, render("scan_page.html", scripts=VIEWER_SCRIPTS if has_map else (), **context))


def _pictures(
    display: DisplayVolumes, result: Mapping[str, Any], reconstruction_window: tuple[float, float]
) -> dict[str, Any]:
    """Return what the template needs beside the words when there is a map."""
    threshold = result.get("threshold")
    alignment = (result.get("preprocessing") or {}).get("alignment") or {}
    return {
        "viewer": make_viewer(
            display,
            threshold=threshold,
            world_to_template=alignment.get("world_to_template"),
            reconstruction_window=reconstruction_window,
        ),
        "mosaic": png_uri(draw_mosaic(display, threshold=threshold)),
        "thumbnail": png_uri(draw_thumbnail(display)),
        "licences": [asset(name) for name in _LICENCES],
    }


def _png_bytes(picture: bytes | str | os.PathLike[str] | None) -> bytes | None:
    return picture if picture is None or isinstance(picture, bytes) else Path(picture).read_bytes()
