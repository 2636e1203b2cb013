"""Still pictures of a scan for the report: rows of axial slices, and a thumbnail."""

from __future__ import annotations

import io
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scripts.report.colours import BACKGROUND, MAP, REGION, TEXT
from scripts.report.display import DisplayVolumes, SlicePicture

__all__ = ["draw_mosaic", "draw_thumbnail"]

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
    return _png(figure, max(_LEAST_DPI, own) if dpi is None else dpi)


def draw_thumbnail(display: DisplayVolumes, *, width: int = 96) -> bytes:
    """Draw the axial slice with the most lesion, or with the highest map, as a PNG `width` pixels wide."""
    (picture,) = display.pictures()
    window, spacing = display.window("image"), display.spacing_mm
    extent = np.array(display.volumes["image"].shape) * spacing
    figure = Figure(figsize=(1.0, float(extent[1] / extent[0])), facecolor=BACKGROUND)
    axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axis.axis("off")
    _draw_scan(axis, picture, window, spacing, caption=False)
    return _png(figure, width)


def _draw_scan(
    axis: Axes, picture: SlicePicture, window: tuple[float, float], spacing: NDArray[np.float64], *, caption: bool
) -> None:
    low, high = window
    axis.imshow(picture.layers["image"], cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0])
    outline = picture.layers.get("lesion_mask", np.zeros(()))
    if outline.any() and not outline.all():
        axis.contour(outline, levels=[0.5], colors=[REGION], linewidths=1.1)
    if caption:
        _write(axis, 0.02, 0.96, f"z {picture.height_mm:.0f} mm", "left")
        _write(axis, 0.03, 0.5, "R", "left")
        _write(axis, 0.97, 0.5, "L", "right")


def _draw_map(axis: Axes, picture: SlicePicture, spacing: NDArray[np.float64], top: float) -> None:
    axis.imshow(picture.layers["anomaly_map"], cmap=MAP, vmin=0.0, vmax=top, aspect=spacing[1] / spacing[0])


def _draw_bar(figure: Figure, width: float, top: float, threshold: float | None) -> None:
    axis = figure.add_axes((1 - 0.62 / width, 0.1, 0.1 / width, 0.8))
    bar = figure.colorbar(ScalarMappable(Normalize(0.0, top), MAP), cax=axis)
    bar.ax.tick_params(colors=TEXT, labelsize=7)
    if threshold is not None and 0 < threshold < top:
        bar.ax.axhline(threshold, color=REGION, linewidth=2)


def _write(axis: Axes, x: float, y: float, text: str, side: str) -> None:
    axis.text(x, y, text, transform=axis.transAxes, color=TEXT, fontsize=6.5, ha=side, va="center")


def _png(figure: Figure, dpi: int) -> bytes:
    stream = io.BytesIO()
    # Without the program's name and version the same picture is the same file.
    figure.savefig(stream, format="png", dpi=dpi, facecolor=BACKGROUND, metadata={"Software": None})
    return stream.getvalue()
