"""Axial slices of a scan side by side as PNG: the mosaic and the small picture of its page, and what changed."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scripts.report.display import BACKGROUND, CHANGES, MAP, REGION, TEXT, PageView, SlicePicture

__all__ = ["draw_changes", "draw_mosaic", "draw_thumbnail"]

_CELL_INCHES = 1.5
_LEAST_DPI = 110


def draw_mosaic(view: PageView, *, columns: int = 6, dpi: int | None = None) -> bytes:
    """Draw axial slices as PNG, for each the scan with the lesions' outline and below it the anomaly map.

    They run from the feet up, in radiological display, each with its height in mm.

    Args:
        view: with `image` and `anomaly_map`, and `lesion_mask` where there is one; a threshold is marked on the colour
            bar.
        columns: slices side by side.
        dpi: pixels an inch; a slice is 1.5 inches wide. None takes as many as give each of its voxels a pixel, 110 at
            least.

    Returns:
        The PNG file.
    """
    pictures, spacing = view.slices, view.spacing_mm
    window, top = view.scales["image"], view.scales["anomaly_map"][1]
    columns = min(columns, len(pictures))
    pairs = -(-len(pictures) // columns)
    width, height, _ = np.array(view.volumes["image"].shape) * spacing
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
        scores = picture.layers["anomaly_map"]
        cells[row + 1, column].imshow(scores, cmap=MAP, vmin=0.0, vmax=top, aspect=spacing[1] / spacing[0])
    _draw_bar(figure, float(size[0]), top, view.threshold)
    own = math.ceil(view.volumes["image"].shape[0] / _CELL_INCHES)
    return _png_bytes(figure, max(_LEAST_DPI, own) if dpi is None else dpi)


def draw_thumbnail(view: PageView, *, width: int = 96) -> bytes:
    """Draw the axial slice with the most lesion, or with the highest map, as a PNG `width` pixels wide."""
    window, spacing = view.scales["image"], view.spacing_mm
    extent = np.array(view.volumes["image"].shape) * spacing
    figure = Figure(figsize=(1.0, float(extent[1] / extent[0])), facecolor=BACKGROUND)
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.axis("off")
    _draw_scan(axis, view.thumbnail, window, spacing, caption=False)
    return _png_bytes(figure, width)


def _draw_scan(
    axis: Axes, picture: SlicePicture, window: tuple[float, float], spacing: NDArray[np.float64], *, caption: bool
) -> None:
    low, high = window
    axis.imshow(picture.layers["image"], cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0])
    outline = picture.layers.get("lesion_mask", np.zeros(()))
    if outline.any() and not outline.all():
        axis.contour(outline, levels=[0.5], colors=[REGION], linewidths=1.1)
    if caption:
        _write_on(axis, 0.02, 0.96, f"z {picture.height_mm:.0f} mm", "left")
        _write_on(axis, 0.03, 0.5, "R", "left")
        _write_on(axis, 0.97, 0.5, "L", "right")


def _draw_bar(figure: Figure, width: float, top: float, threshold: float | None) -> None:
    axis = figure.add_axes((1 - 0.62 / width, 0.1, 0.1 / width, 0.8))
    bar = figure.colorbar(ScalarMappable(Normalize(0.0, top), MAP), cax=axis)
    bar.ax.tick_params(colors=TEXT, labelsize=7)
    if threshold is not None and 0 < threshold < top:
        bar.ax.axhline(threshold, color=REGION, linewidth=2)


_CHANGE_INCHES = 1.7
_DIFFERENCE = "RdBu_r"


def draw_changes(view: PageView) -> bytes:
    """Draw axial slices as PNG: baseline and follow-up, both with the regions' outlines, and the difference of maps.

    Args:
        view: with `image`, `baseline`, `difference_map` and `change_dseg`.

    Returns:
        The PNG file.
    """
    pictures, spacing, top = view.changed, view.spacing_mm, view.scales["difference_map"][1]
    width, height, _ = np.array(view.volumes["image"].shape) * spacing
    size = (_CHANGE_INCHES * len(pictures), 3 * _CHANGE_INCHES * float(height / width))
    figure = Figure(figsize=size, facecolor=BACKGROUND)
    grid = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.02, "hspace": 0.02}
    cells = figure.subplots(3, len(pictures), squeeze=False, gridspec_kw=grid)
    aspect = spacing[1] / spacing[0]
    for axis in cells.flat:
        axis.axis("off")
    for column, picture in enumerate(pictures):
        for row, (name, text) in enumerate((("baseline", "baseline"), ("image", "follow-up"))):
            low, high = view.scales[name]
            cells[row, column].imshow(picture.layers[name], cmap="gray", vmin=low, vmax=high, aspect=aspect)
            _outline(cells[row, column], picture)
            _write_on(cells[row, column], 0.02, 0.96, f"{text} z {picture.height_mm:.0f}" if row else text)
        cells[2, column].imshow(picture.layers["difference_map"], cmap=_DIFFERENCE, vmin=-top, vmax=top, aspect=aspect)
        _write_on(cells[2, column], 0.02, 0.96, f"difference, ±{top:.2g}", colour="black")
    own = math.ceil(view.volumes["image"].shape[0] / _CHANGE_INCHES)
    return _png_bytes(figure, max(_LEAST_DPI, own))


def _outline(axis: Any, picture: SlicePicture) -> None:
    kinds = picture.layers["change_dseg"]
    for number, colour in enumerate(CHANGES.values(), start=1):
        own = kinds == number
        if own.any() and not own.all():
            axis.contour(own, levels=[0.5], colors=[colour], linewidths=1.2)


def _write_on(axis: Axes, x: float, y: float, text: str, side: str = "left", *, colour: str = TEXT) -> None:
    """Write a short text on a slice.

    Args:
        axis: where the slice is drawn.
        x: 0 (left) to 1.
        y: 0 (bottom) to 1.
        text: what to write.
        side: of the text that lies at x, left or right.
        colour: of the text.
    """
    axis.text(x, y, text, transform=axis.transAxes, color=colour, fontsize=6.5, ha=side, va="center")


def _png_bytes(figure: Figure, dpi: int) -> bytes:
    """Return a figure as a PNG file; without the program's name and version the same picture is the same file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor=BACKGROUND, metadata={"Software": None})
    return stream.getvalue()
