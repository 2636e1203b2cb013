"""One picture per case: scan, reconstruction, anomaly map, and predicted against true outline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from scripts.files import replacing
from scripts.report.colours import BACKGROUND, LABEL, MAP, REGION, TEXT
from scripts.report.display import choose_slices, radiological_slice, to_ras

__all__ = ["draw_panel"]

_MARGIN = 6  # voxels around the brain, room for the letters of the sides


@dataclass(frozen=True)
class _Volumes:
    """What is drawn, in RAS order, with the scales shared by all slices."""

    image: NDArray
    anomaly_map: NDArray
    reconstruction: NDArray | None
    label: NDArray | None
    regions: NDArray | None
    image_maximum: float
    map_maximum: float
    threshold: float | None
    aspect: float


def draw_panel(
    path: str | os.PathLike[str],
    *,
    image: ArrayLike,
    anomaly_map: ArrayLike,
    reconstruction: ArrayLike | None = None,
    label: ArrayLike | None = None,
    region_mask: ArrayLike | None = None,
    brain_mask: ArrayLike | None = None,
    threshold: float | None = None,
    affine: ArrayLike | None = None,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    map_name: str = "anomaly map",
    map_maximum: float | None = None,
    title: str = "",
    num_slices: int = 3,
    dpi: int = 100,
) -> None:
    """Draw some slices of a case as PNG: input, reconstruction, anomaly map with colour bar, outlines on the input.

    The slices are those with the most lesion, or with the highest map where there is no lesion, kept apart from each
    other; their numbers count upwards from the feet. Display is radiological: front up, the patient's right on the
    left. Input and reconstruction share one grey scale (0 to the 99.5th percentile of the input's brain), and all
    slices of the map one colour scale.

    Args:
        path: the PNG file.
        image: [H, W, D], the scan, at least 0.
        anomaly_map: [H, W, D], higher is more anomalous.
        reconstruction: [H, W, D], on the scan's intensity scale; its column is left out when there is none.
        label: [H, W, D], 1 inside lesions; None for a scan without a lesion label.
        region_mask: [H, W, D], 1 inside candidate regions, which are outlined; by default where the map reaches
            `threshold`.
        brain_mask: [H, W, D], 1 inside the brain; the non-zero voxels of the image by default.
        threshold: voxels with `anomaly_map >= threshold` are outlined, and it is marked on the colour bar; None draws
            no region.
        affine: [4, 4], voxel indices to RAS mm; None when the volumes are RAS already.
        spacing_mm: voxel edges along H, W, D in mm.
        map_name: what the map is called in the picture.
        map_maximum: top of the colour scale, to make several pictures comparable; the 99.9th percentile of the map's
            brain voxels by default.
        title: a line above the picture.
        num_slices: rows of the picture, fewer when fewer slices hold anything.
        dpi: pixels an inch; a slice is 2.6 inches wide.

    Raises:
        ValueError: when the volumes have not all the image's shape [H, W, D].
    """
    scan = np.asarray(image)
    brain = np.asarray(brain_mask) > 0 if brain_mask is not None else scan > 0
    others = {"anomaly_map": anomaly_map, "reconstruction": reconstruction, "label": label, "region_mask": region_mask}
    _check_shapes(scan, **others, brain_mask=brain)
    spacing = _ras_spacing(spacing_mm, affine)
    inside = np.where(brain, np.asarray(anomaly_map), 0)
    window = _window(to_ras(brain, affine))
    volumes = _Volumes(
        image=to_ras(scan, affine)[window],
        anomaly_map=to_ras(inside, affine)[window],
        reconstruction=None if reconstruction is None else to_ras(reconstruction, affine)[window],
        label=None if label is None else to_ras(label, affine)[window],
        regions=_regions(inside, region_mask, threshold, affine, window),
        image_maximum=_percentile(scan[brain], 99.5),
        map_maximum=_percentile(inside[brain], 99.9) if map_maximum is None else map_maximum,
        threshold=threshold,
        aspect=spacing[1] / spacing[0],
    )
    figure = _figure(volumes, num_slices=num_slices, map_name=map_name, title=title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=BACKGROUND)


def _figure(volumes: _Volumes, *, num_slices: int, map_name: str, title: str) -> Figure:
    """Lay out rows of slices and columns of views."""
    columns = ["input", *(["reconstruction"] if volumes.reconstruction is not None else []), map_name, "outlines"]
    slices = _chosen_slices(volumes, num_slices)
    height = volumes.image.shape[1] / volumes.image.shape[0] * volumes.aspect
    figure = Figure(figsize=(2.6 * len(columns) + 0.9, 2.6 * height * len(slices) + 1.0), layout="constrained")
    axes = figure.subplots(len(slices), len(columns), squeeze=False)
    for row, index in enumerate(slices):
        grey = {"cmap": "gray", "vmin": 0.0, "vmax": volumes.image_maximum, "aspect": volumes.aspect}
        axes[row, 0].imshow(radiological_slice(volumes.image, index), **grey)
        if volumes.reconstruction is not None:
            axes[row, 1].imshow(radiological_slice(volumes.reconstruction, index), **grey)
        coloured = axes[row, -2].imshow(
            radiological_slice(volumes.anomaly_map, index),
            cmap=MAP,
            vmin=0.0,
            vmax=volumes.map_maximum,
            aspect=volumes.aspect,
        )
        axes[row, -1].imshow(radiological_slice(volumes.image, index), **grey)
        _draw_outlines(axes[row, -1], volumes, index)
        axes[row, 0].set_ylabel(f"slice {index}", color=TEXT)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, color=TEXT, fontsize=10)
    for axis in axes.flat:
        _decorate(axis)
    bar = figure.colorbar(coloured, ax=axes[:, -2], shrink=0.8, aspect=40, pad=0.02)
    bar.ax.tick_params(colors=TEXT, labelsize=8)
    if volumes.threshold is not None and 0 < volumes.threshold < volumes.map_maximum:
        bar.ax.axhline(volumes.threshold, color=REGION, linewidth=2)
    figure.suptitle(title, color=TEXT, fontsize=11)
    _legend(figure, volumes)
    return figure


def _chosen_slices(volumes: _Volumes, num_slices: int) -> list[int]:
    """Choose slices by lesion area, or by the mean of the map when there is no lesion."""
    if volumes.label is not None and np.any(volumes.label > 0):
        return choose_slices((volumes.label > 0).sum(axis=(0, 1)), num_slices)
    return choose_slices(np.clip(volumes.anomaly_map, 0, None).mean(axis=(0, 1)), num_slices)


def _draw_outlines(axis: Axes, volumes: _Volumes, index: int) -> None:
    """Draw where the labelled lesion and the candidate regions end on this slice."""
    masks: list[tuple[NDArray, str]] = []
    if volumes.label is not None:
        masks.append((volumes.label > 0, LABEL))
    if volumes.regions is not None:
        masks.append((volumes.regions, REGION))
    for mask, colour in masks:
        picture = radiological_slice(mask, index)
        if picture.any() and not picture.all():
            axis.contour(picture.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.2)


def _decorate(axis: Axes) -> None:
    """Remove ticks and frame, and mark the patient's sides."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_facecolor(BACKGROUND)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for place, side in ((0.03, "R"), (0.97, "L")):
        axis.text(
            place, 0.5, side, transform=axis.transAxes, color=TEXT, fontsize=7, alpha=0.8, ha="center", va="center"
        )


def _legend(figure: Figure, volumes: _Volumes) -> None:
    """Name the outlines that are drawn."""
    handles = []
    if volumes.threshold is not None:
        handles.append(Line2D([], [], color=REGION, label=f"candidate regions (map ≥ {volumes.threshold:.4g})"))
    if volumes.label is not None and np.any(volumes.label > 0):
        handles.append(Line2D([], [], color=LABEL, label="lesion label"))
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False, labelcolor=TEXT, fontsize=9)


def _check_shapes(image: NDArray, **others: ArrayLike | None) -> None:
    """Refuse volumes that are not on the image's grid."""
    if image.ndim != 3:
        raise ValueError(f"`image` must have shape [H, W, D], got {image.shape}")
    for name, volume in others.items():
        if volume is not None and np.shape(volume) != image.shape:
            raise ValueError(f"`{name}` must have the image's shape {image.shape}, got {np.shape(volume)}")


def _ras_spacing(spacing_mm: Sequence[float], affine: ArrayLike | None) -> list[float]:
    """Return the voxel edges in the order that `to_ras` puts the axes."""
    # A marker volume of three different lengths goes through the same reorientation as the data.
    order = to_ras(np.empty((1, 2, 3)), affine).shape
    return [float(spacing_mm[length - 1]) for length in order]


def _window(brain: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the part of each axial slice that is drawn: the brain with a margin, everything when there is none."""
    if not brain.any():
        return slice(None), slice(None)
    first, second = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return (
        slice(max(int(first[0]) - _MARGIN, 0), int(first[-1]) + _MARGIN + 1),
        slice(max(int(second[0]) - _MARGIN, 0), int(second[-1]) + _MARGIN + 1),
    )


def _regions(
    inside: NDArray,
    region_mask: ArrayLike | None,
    threshold: float | None,
    affine: ArrayLike | None,
    window: tuple[slice, slice],
) -> NDArray[np.bool_] | None:
    if threshold is None:
        return None
    mask = np.asarray(region_mask) > 0 if region_mask is not None else inside >= threshold
    return np.asarray(to_ras(mask, affine)[window])


def _percentile(values: NDArray, percent: float) -> float:
    """Return a percentile to scale colours by: positive, and 1 when there is nothing to scale."""
    top = float(np.percentile(values, percent)) if values.size else 0.0
    return top if top > 0 else 1.0
