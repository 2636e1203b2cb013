"""One scan's report: a single HTML file that opens from disk without a network; viewer and pictures are in it."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scripts.errors import InputError
from scripts.report.changes import change_words, draw_changes
from scripts.report.display import (
    BACKGROUND,
    CHANGES,
    MAP,
    REGION,
    TEXT,
    DisplayVolumes,
    SlicePicture,
    display_nifti,
    display_volumes,
    png_bytes,
    write_on,
)
from scripts.report.pages import asset, png_uri, render, small_png
from scripts.report.tables import write_text
from scripts.report.words import CITATION, methods_text, scan_words

__all__ = ["VIEWER_SCRIPTS", "Layer", "Viewer", "draw_mosaic", "draw_thumbnail", "make_viewer", "write_scan_page"]

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
_GREYS = ("image", "baseline")


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
        settings: numbers for the script, nothing but what JSON can hold.
        spacing_mm: voxel edges of the copies, mm.
    """

    layers: list[Layer]
    settings: dict[str, Any]
    spacing_mm: list[float]

    @property
    def names(self) -> list[str]:
        """Names of the layers."""
        return [layer.name for layer in self.layers]


def make_viewer(
    display: DisplayVolumes,
    *,
    threshold: float | None = None,
    world_to_template: Sequence[Sequence[float]] | None = None,
) -> Viewer:
    """Prepare the layers and settings of the viewer.

    The input's grey scale runs from the 1st to the 99th percentile inside the brain: what the pipeline calls 0 and 1.
    The reconstruction, which has that scale, therefore has the same grey for the same tissue.

    Args:
        display: `image`, and any of `reconstruction`, `anomaly_map` and `lesion_mask`.
        threshold: where the threshold slider starts; the middle of the colour scale by default.
        world_to_template: [4, 4], scanner's world to MNI152, mm; with it the crosshair is also given in MNI mm.
    """
    layers = []
    for name, label in _LABELS.items():
        if name not in display.volumes:
            continue
        volume, is_label = display.volumes[name], name in _MASKS
        low, high = _range(display, name)
        nifti = display_nifti(volume, display.affine, low=low, high=high, label=is_label)
        shown = _window(display, name, threshold)
        layers.append(Layer(name, label, base64.b64encode(nifti).decode("ascii"), *shown))
    settings: dict[str, Any] = {
        "layers": [{"name": one.name, "label": one.label, "low": one.low, "high": one.high} for one in layers],
        "regionColour": _bytes(REGION),
        "changes": [[kind, _bytes(colour)] for kind, colour in CHANGES.items()],  # JSON sorts the keys of a mapping
        "worldToTemplate": None if world_to_template is None else np.asarray(world_to_template, float).tolist(),
        "thickSlices": _thick_slices(display.spacing_mm),
        "voxelMl": abs(float(np.linalg.det(display.affine[:3, :3]))) / 1000,
    }
    if "anomaly_map" in display.volumes:
        top = display.map_maximum(threshold)
        settings["threshold"] = top / 2 if threshold is None else float(threshold)
        settings["mapMaximum"] = max(float(display.volumes["anomaly_map"].max()), top)
        settings["mapColours"] = _colours()
    return Viewer(layers, settings, [round(float(edge), 2) for edge in display.spacing_mm])


def _bytes(colour: str) -> list[int]:
    return [round(255 * channel) for channel in to_rgb(colour)]


def _thick_slices(spacing_mm: NDArray[np.float64]) -> str | None:
    """Return the view that shows whole slices, where these are over twice as thick as their pixels; else None."""
    axis = int(np.argmax(spacing_mm))
    others = np.delete(spacing_mm, axis)
    return ("sagittal", "coronal", "axial")[axis] if spacing_mm[axis] > 2 * others.max() else None


def _range(display: DisplayVolumes, name: str) -> tuple[float, float]:
    """Return the values that bytes 0 and 255 stand for; the map's peak is kept, an image's brightest 0.1 % are not."""
    volume = display.volumes[name]
    low = min(0.0, float(display.inside(name).min()))
    high = float(np.percentile(display.inside(name), 99.9)) if name in _GREYS else float(volume.max())
    return (low, high) if high > low else (low, low + 1.0)


def _window(display: DisplayVolumes, name: str, threshold: float | None) -> tuple[float, float]:
    """Return the values that are drawn at the ends of a layer's colour scale."""
    if name in _GREYS:
        return display.window(name)
    if name == "difference_map":
        top = float(np.percentile(np.abs(display.inside(name)), 99.9))
        least = _DIFFERENCE_SHARE * (threshold or top)
        return least, max(top, 2 * least) or 1.0
    return (0.0, display.map_maximum(threshold)) if name == "anomaly_map" else (0.0, 1.0)


def _colours() -> dict[str, list[int]]:
    """Return the map's colour scale as NiiVue wants it; only 0 is transparent."""
    places = np.linspace(0, 255, 32).round().astype(int)
    rgb = (colormaps[MAP](places)[:, :3] * 255).round().astype(int)
    channels = dict(zip("RGB", rgb.T.tolist(), strict=True))
    return {**channels, "A": [0] + [255] * (len(places) - 1), "I": places.tolist()}


_DIFFERENCE_SHARE = 0.25  # of the threshold: smaller differences are not drawn
_CELL_INCHES = 1.5
_LEAST_DPI = 110


def draw_mosaic(
    display: DisplayVolumes,
    *,
    threshold: float | None = None,
    num_slices: int = 12,
    columns: int = 6,
    dpi: int | None = None,
) -> bytes:
    """Draw axial slices as PNG, for each the scan with the lesions' outline and below it the anomaly map.

    Half of the slices are those with most lesion (or with the highest map, where there is no lesion), the others are
    spread evenly over the brain. They run from the feet up, in radiological display, each with its height in mm.

    Args:
        display: `image` and `anomaly_map`, and `lesion_mask` where there is one.
        threshold: marked on the colour bar.
        num_slices: how many slices; a brain with fewer slices shows them all.
        columns: slices side by side.
        dpi: pixels an inch; a slice is 1.5 inches wide. None takes as many as give each of its voxels a pixel, 110 at
            least.

    Returns:
        The PNG file.
    """
    pictures = display.pictures(display.slices_to_show(num_slices))
    window, top, spacing = display.window("image"), display.map_maximum(threshold), display.spacing_mm
    columns = min(columns, len(pictures))
    pairs = -(-len(pictures) // columns)
    width, height, _ = np.array(display.volumes["image"].shape) * spacing
    size = np.array([_CELL_INCHES * columns + 0.7, 2 * pairs * _CELL_INCHES * height / width])
    figure = Figure(figsize=(float(size[0]), float(size[1])), facecolor=BACKGROUND)
    cells = figure.subplots(
        2 * pairs, columns, squeeze=False,
        gridspec_kw={"left": 0, "right": 1 - 0.7 / size[0], "bottom": 0, "top": 1, "wspace": 0.02, "hspace": 0.02},
    )  # fmt: skip
    for axis in cells.flat:
        axis.axis("off")
    for place, picture in enumerate(pictures):
        row, column = 2 * (place // columns), place % columns
        _draw_scan(cells[row, column], picture, window, spacing, caption=True)
        _draw_map(cells[row + 1, column], picture, spacing, top)
    _draw_bar(figure, float(size[0]), top, threshold)
    own = math.ceil(display.volumes["image"].shape[0] / _CELL_INCHES)
    return png_bytes(figure, max(_LEAST_DPI, own) if dpi is None else dpi)


def draw_thumbnail(display: DisplayVolumes, *, width: int = 96) -> bytes:
    """Draw the axial slice with the most lesion, or with the highest map, as a PNG `width` pixels wide."""
    (picture,) = display.pictures()
    window, spacing = display.window("image"), display.spacing_mm
    extent = np.array(display.volumes["image"].shape) * spacing
    figure = Figure(figsize=(1.0, float(extent[1] / extent[0])), facecolor=BACKGROUND)
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.axis("off")
    _draw_scan(axis, picture, window, spacing, caption=False)
    return png_bytes(figure, width)


def _draw_scan(
    axis: Axes, picture: SlicePicture, window: tuple[float, float], spacing: NDArray[np.float64], *, caption: bool
) -> None:
    low, high = window
    axis.imshow(picture.layers["image"], cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0])
    outline = picture.layers.get("lesion_mask", np.zeros(()))
    if outline.any() and not outline.all():
        axis.contour(outline, levels=[0.5], colors=[REGION], linewidths=1.1)
    if caption:
        write_on(axis, 0.02, 0.96, f"z {picture.height_mm:.0f} mm", "left")
        write_on(axis, 0.03, 0.5, "R", "left")
        write_on(axis, 0.97, 0.5, "L", "right")


def _draw_map(axis: Axes, picture: SlicePicture, spacing: NDArray[np.float64], top: float) -> None:
    axis.imshow(picture.layers["anomaly_map"], cmap=MAP, vmin=0.0, vmax=top, aspect=spacing[1] / spacing[0])


def _draw_bar(figure: Figure, width: float, top: float, threshold: float | None) -> None:
    axis = figure.add_axes((1 - 0.62 / width, 0.1, 0.1 / width, 0.8))
    bar = figure.colorbar(ScalarMappable(Normalize(0.0, top), MAP), cax=axis)
    bar.ax.tick_params(colors=TEXT, labelsize=7)
    if threshold is not None and 0 < threshold < top:
        bar.ax.axhline(threshold, color=REGION, linewidth=2)


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
        context |= _pictures(display_volumes(volumes, affine), result)
    write_text(path, render("scan_page.html", scripts=VIEWER_SCRIPTS if has_map else (), **context))


def _pictures(display: DisplayVolumes, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template needs beside the words when there is a map."""
    threshold = result.get("threshold")
    alignment = (result.get("preprocessing") or {}).get("alignment") or {}
    least = _DIFFERENCE_SHARE * (threshold or 0.0)
    compared = "change_dseg" in display.volumes
    return {
        "changes_picture": png_uri(draw_changes(display, least=least)) if compared else None,
        "viewer": make_viewer(display, threshold=threshold, world_to_template=alignment.get("world_to_template")),
        "mosaic": png_uri(draw_mosaic(display, threshold=threshold)),
        "thumbnail": png_uri(draw_thumbnail(display)),
        "licences": [asset(name) for name in _LICENCES],
    }


def _png_bytes(picture: bytes | str | os.PathLike[str] | None) -> bytes | None:
    return picture if picture is None or isinstance(picture, bytes) else Path(picture).read_bytes()
