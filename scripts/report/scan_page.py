"""One scan's report: a single HTML file that opens from disk without a network; viewer and pictures are in it."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike, NDArray
from scripts.errors import InputError
from scripts.report.display import CHANGES, MAP, REGION, PageView, display_volumes, page_view
from scripts.report.pages import asset, png_uri, render, small_png
from scripts.report.slices import draw_changes, draw_mosaic, draw_thumbnail
from scripts.report.tables import write_text
from scripts.report.words import CITATION, change_words, methods_text, scan_words

__all__ = ["VIEWER_SCRIPTS", "Layer", "Viewer", "display_nifti", "make_viewer", "write_scan_page"]

VIEWER_SCRIPTS = ("niivue/niivue.umd.js", "viewer.js")
_LABELS = {
    "image": "input",
    "reconstruction": "reconstruction",
    "anomaly_map": "anomaly map",
    "lesion_mask": "candidate region",
    "baseline": "baseline",
    "difference_map": "difference to the baseline",
    "change_dseg": "change",
}
_MASKS = ("lesion_mask", "change_dseg")


@dataclass(frozen=True)
class Layer:
    """One volume of the viewer.

    Attributes:
        name: as in the result's files, such as `anomaly_map`.
        label: what readers see.
        base64: the gzipped NIfTI file.
        low: the value that is drawn black or as the colour scale's begin.
        high: the value that is drawn white or as the colour scale's end.
    """

    name: str
    label: str
    base64: str
    low: float
    high: float


@dataclass(frozen=True)
class Viewer:
    """What the page's template and `viewer.js` need.

    Attributes:
        layers: the volumes, the input first.
        names: of the layers.
        settings: numbers for the script, nothing but what JSON can hold.
        spacing_mm: voxel edges of the copies, mm.
    """

    layers: list[Layer]
    names: list[str]
    settings: dict[str, Any]
    spacing_mm: list[float]


def make_viewer(view: PageView, *, world_to_template: Sequence[Sequence[float]] | None = None) -> Viewer:
    """Prepare the layers and settings of the viewer.

    The input's grey scale runs from the 1st to the 99th percentile inside the brain: what the pipeline calls 0 and 1.
    The reconstruction, which has that scale, therefore has the same grey for the same tissue.

    Args:
        view: with its threshold, where the slider starts; the middle of the colour scale where it has none.
        world_to_template: [4, 4], scanner's world to MNI152, mm; with it the crosshair is also given in MNI mm.
    """
    layers = []
    for name, label in _LABELS.items():
        if name not in view.volumes:
            continue
        low, high = view.extremes[name]
        nifti = display_nifti(view.volumes[name], view.affine, low=low, high=high, label=name in _MASKS)
        layers.append(Layer(name, label, base64.b64encode(nifti).decode("ascii"), *view.scales[name]))
    settings: dict[str, Any] = {
        "layers": [{"name": one.name, "label": one.label, "low": one.low, "high": one.high} for one in layers],
        "regionColour": _bytes(REGION),
        "changes": [[kind, _bytes(colour)] for kind, colour in CHANGES.items()],  # JSON sorts the keys of a mapping
        "worldToTemplate": None if world_to_template is None else np.asarray(world_to_template, float).tolist(),
        "thickSlices": _thick_slices(view.spacing_mm),
        "voxelMl": abs(float(np.linalg.det(view.affine[:3, :3]))) / 1000,
    }
    if "anomaly_map" in view.volumes:
        top = view.scales["anomaly_map"][1]
        settings["threshold"] = top / 2 if view.threshold is None else float(view.threshold)
        settings["mapMaximum"] = max(float(view.volumes["anomaly_map"].max()), top)
        settings["mapColours"] = _colours()
    return Viewer(layers, [one.name for one in layers], settings, [round(float(edge), 2) for edge in view.spacing_mm])


def display_nifti(
    volume: ArrayLike, affine: ArrayLike, *, low: float = 0.0, high: float = 255.0, label: bool = False
) -> bytes:
    """Return a volume as a gzipped NIfTI file of bytes (uint8) whose header turns them back into the volume's numbers.

    Args:
        volume: [H, W, D]; values outside `low` to `high` are clipped.
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
        low: what byte 0 stands for.
        high: what byte 255 stands for; the error of a value is at most half of (high - low) / 255.
        label: whether the values are labels 0 to 255, written as they are and marked as labels in the header.

    Raises:
        InputError: when `high` is not above `low`.
    """
    if not high > low:
        raise InputError(f"`high` must be above `low` ({low:g}), got {high:g}")
    slope, intercept = (1.0, 0.0) if label else ((high - low) / 255, low)
    levels = np.rint((np.asarray(volume, dtype=np.float64) - intercept) / slope).clip(0, 255).astype(np.uint8)
    matrix = np.asarray(affine, dtype=np.float64)
    image = nib.Nifti1Image(levels, None)
    image.header.set_sform(matrix, code="scanner")
    image.header.set_zooms(np.linalg.norm(matrix[:3, :3], axis=0))
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, intercept)
    if label:
        image.header.set_intent("label")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def _bytes(colour: str) -> list[int]:
    return [round(255 * channel) for channel in to_rgb(colour)]


def _thick_slices(spacing_mm: NDArray[np.float64]) -> str | None:
    """Return the view that shows whole slices, where these are over twice as thick as their pixels; else None."""
    axis = int(np.argmax(spacing_mm))
    others = np.delete(spacing_mm, axis)
    return ("sagittal", "coronal", "axial")[axis] if spacing_mm[axis] > 2 * others.max() else None


def _colours() -> dict[str, list[int]]:
    """Return the map's colour scale as NiiVue wants it; only 0 is transparent."""
    places = np.linspace(0, 255, 32).round().astype(int)
    rgb = (colormaps[MAP](places)[:, :3] * 255).round().astype(int)
    channels = dict(zip("RGB", rgb.T.tolist(), strict=True))
    return {**channels, "A": [0] + [255] * (len(places) - 1), "I": places.tolist()}


_LICENCES = ("niivue/LICENSE", "niivue/THIRD_PARTY_LICENSES.txt")


def write_scan_page(
    path: str | os.PathLike[str],
    *,
    result: Mapping[str, Any],
    volumes: Mapping[str, ArrayLike] | None = None,
    affine: ArrayLike | None = None,
    quality_picture: bytes | str | os.PathLike[str] | None = None,
) -> None:
    """Write the report of one scan: viewer, slices, candidate regions, quality checks, and how it was made.

    A result without a map (refused or failed) gets its reasons, its quality checks and the picture instead of the
    viewer. What the result does not hold is left out.

    Args:
        path: the HTML file. Links to the result's files are relative to its folder.
        result: the content of `result.json`.
        volumes: [H, W, D] each, on the scan's own grid: `image` and `anomaly_map`, and any of `reconstruction`,
            `lesion_mask`, `brain_mask` and, together, `baseline`, `difference_map` and `change_dseg`; None where there
            is no map.
        affine: [4, 4], voxel to the scanner's world (RAS), mm; needed with `volumes`.
        quality_picture: a PNG file, or its bytes, that shows why a scan was refused.

    Raises:
        InputError: when there are volumes but no affine, or volumes that do not fit each other.
    """
    if volumes is not None and affine is None:
        raise InputError("`affine` must be given with `volumes`, got None")
    has_map = bool(volumes) and "anomaly_map" in (volumes or {})
    picture = _png_bytes(quality_picture)
    context = {
        **scan_words(result),
        "change": change_words(result),
        "changes_picture": None,
        "methods": methods_text(result) if has_map else [],
        "citation": CITATION,
        "reasons_title": "Please note:" if has_map else "This scan was not analysed:",
        "quality_picture": png_uri(picture) if picture is not None else None,
        "thumbnail": png_uri(small_png(picture)) if picture is not None else None,
        "viewer": None,
    }
    if has_map and volumes is not None and affine is not None:
        view = page_view(display_volumes(volumes, affine), threshold=result.get("threshold"))
        context |= _pictures(view, result)
    write_text(path, render("scan_page.html", scripts=VIEWER_SCRIPTS if has_map else (), **context))


def _pictures(view: PageView, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template needs beside the words when there is a map."""
    alignment = (result.get("preprocessing") or {}).get("alignment") or {}
    viewer = make_viewer(view, world_to_template=alignment.get("world_to_template"))
    changes, mosaic, thumbnail = draw_changes(view) if view.changed else None, draw_mosaic(view), draw_thumbnail(view)
    return {
        "changes_picture": None if changes is None else png_uri(changes),
        "viewer": viewer,
        "mosaic": png_uri(mosaic),
        "thumbnail": png_uri(thumbnail),
        "licences": [asset(name) for name in _LICENCES],
    }


def _png_bytes(picture: bytes | str | os.PathLike[str] | None) -> bytes | None:
    return picture if picture is None or isinstance(picture, bytes) else Path(picture).read_bytes()
