"""One picture per case (scan, reconstruction, map, outlines), or one that shows why a scan was refused."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scripts.errors import InputError
from scripts.files import replacing
from scripts.report.display import (
    BACKGROUND,
    BRAIN,
    LABEL,
    MAP,
    REGION,
    TEXT,
    brain_window,
    choose_slices,
    radiological_slice,
    to_ras,
)

__all__ = ["draw_panel", "draw_quality_picture"]

_MARGIN = 6  # voxels around the brain, room for the letters of the sides


@dataclass(frozen=True)
class _Slice:
    """An axial slice as it is drawn: [rows, columns] by what it shows, `label` and `regions` as masks."""

    index: int
    layers: dict[str, NDArray]


@dataclass(frozen=True)
class _Slices:
    """What is drawn, with the scales shared by all slices."""

    rows: list[_Slice]
    extent: tuple[int, int]
    image_maximum: float
    map_maximum: float
    threshold: float | None
    has_label: bool
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
        InputError: when the volumes have not all the image's shape [H, W, D].
    """
    scan, scores = np.asarray(image), np.asarray(anomaly_map)
    brain = np.asarray(brain_mask) > 0 if brain_mask is not None else scan > 0
    others = {"anomaly_map": anomaly_map, "reconstruction": reconstruction, "label": label, "region_mask": region_mask}
    _check_shapes(scan, **others, brain_mask=brain)
    volumes: dict[str, NDArray] = {"image": scan, "brain": brain, "anomaly_map": scores}
    volumes |= {} if reconstruction is None else {"reconstruction": np.asarray(reconstruction)}
    volumes |= {} if label is None else {"label": np.asarray(label) > 0}
    if threshold is not None:
        volumes["regions"] = np.asarray(region_mask) > 0 if region_mask is not None else (scores >= threshold) & brain
    top = _percentile(scores[brain], 99.9) if map_maximum is None else map_maximum
    scales = {"image_maximum": _percentile(scan[brain], 99.5), "map_maximum": top, "threshold": threshold}
    slices = _slices(volumes, affine, num_slices=num_slices, spacing_mm=spacing_mm, **scales)
    figure = _figure(slices, map_name=map_name, title=title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=BACKGROUND)


def _slices(
    volumes: Mapping[str, NDArray],
    affine: ArrayLike | None,
    *,
    num_slices: int,
    spacing_mm: Sequence[float],
    **scales: Any,
) -> _Slices:
    """Choose slices by lesion area, or by the mean of the map when there is no lesion, and turn them upright."""
    # A marker volume of three different lengths goes through the same reorientation as the data.
    order = to_ras(np.empty((1, 2, 3)), affine).shape
    upright = {name: to_ras(volume, affine) for name, volume in volumes.items()}
    window = brain_window(upright["brain"], _MARGIN)
    shown = {name: volume[window] for name, volume in upright.items()}
    shown["anomaly_map"] = np.where(shown.pop("brain"), shown["anomaly_map"], 0)
    has_label = "label" in shown and bool(shown["label"].any())
    area = shown["label"].sum(axis=(0, 1)) if has_label else np.clip(shown["anomaly_map"], 0, None).mean(axis=(0, 1))
    rows = [
        _Slice(index, {name: radiological_slice(volume, index) for name, volume in shown.items()})
        for index in choose_slices(area, num_slices)
    ]
    aspect = float(spacing_mm[order[1] - 1]) / float(spacing_mm[order[0] - 1])
    return _Slices(rows=rows, extent=shown["image"].shape[:2], has_label=has_label, aspect=aspect, **scales)


def _figure(slices: _Slices, *, map_name: str, title: str) -> Figure:
    """Lay out rows of slices and columns of views."""
    has_reconstruction = "reconstruction" in slices.rows[0].layers
    columns = ["input", *(["reconstruction"] if has_reconstruction else []), map_name, "outlines"]
    height = slices.extent[1] / slices.extent[0] * slices.aspect
    figure = Figure(figsize=(2.6 * len(columns) + 0.9, 2.6 * height * len(slices.rows) + 1.0), layout="constrained")
    axes = figure.subplots(len(slices.rows), len(columns), squeeze=False)
    grey = {"cmap": "gray", "vmin": 0.0, "vmax": slices.image_maximum, "aspect": slices.aspect}
    coloured = {"cmap": MAP, "vmin": 0.0, "vmax": slices.map_maximum, "aspect": slices.aspect}
    for row, one in zip(axes, slices.rows, strict=True):
        row[0].imshow(one.layers["image"], **grey)
        if has_reconstruction:
            row[1].imshow(one.layers["reconstruction"], **grey)
        scale = row[-2].imshow(one.layers["anomaly_map"], **coloured)
        row[-1].imshow(one.layers["image"], **grey)
        _draw_outlines(row[-1], one)
        row[0].set_ylabel(f"slice {one.index}", color=TEXT)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, color=TEXT, fontsize=10)
    for axis in axes.flat:
        _decorate(axis)
    bar = figure.colorbar(scale, ax=axes[:, -2], shrink=0.8, aspect=40, pad=0.02)
    bar.ax.tick_params(colors=TEXT, labelsize=8)
    if slices.threshold is not None and 0 < slices.threshold < slices.map_maximum:
        bar.ax.axhline(slices.threshold, color=REGION, linewidth=2)
    figure.suptitle(title, color=TEXT, fontsize=11)
    _legend(figure, slices)
    return figure


def _draw_outlines(axis: Axes, one: _Slice) -> None:
    """Draw where the labelled lesion and the candidate regions end on this slice."""
    for name, colour in (("label", LABEL), ("regions", REGION)):
        picture = one.layers.get(name, np.zeros(()))
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


def _legend(figure: Figure, slices: _Slices) -> None:
    """Name the outlines that are drawn."""
    handles = []
    if slices.threshold is not None:
        handles.append(Line2D([], [], color=REGION, label=f"candidate regions (map ≥ {slices.threshold:.4g})"))
    if slices.has_label:
        handles.append(Line2D([], [], color=LABEL, label="lesion label"))
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False, labelcolor=TEXT, fontsize=9)


def _check_shapes(image: NDArray, **others: ArrayLike | None) -> None:
    """Refuse volumes that are not on the image's grid."""
    if image.ndim != 3:
        raise InputError(f"`image` must have shape [H, W, D], got {image.shape}")
    for name, volume in others.items():
        if volume is not None and np.shape(volume) != image.shape:
            raise InputError(f"`{name}` must have the image's shape {image.shape}, got {np.shape(volume)}")


def _percentile(values: NDArray, percent: float) -> float:
    """Return a percentile to scale colours by: positive, and 1 when there is nothing to scale."""
    top = float(np.percentile(values, percent)) if values.size else 0.0
    return top if top > 0 else 1.0


_FAILED, _WARNED = "#ff6b6b", "#ffd166"
_CELL_INCHES, _LINE_INCHES, _LINE_LETTERS = 3.0, 0.22, 105
# For each axis of a RAS volume: which two others a cut across it shows, and the letters of its left, right and top.
_CUTS = {2: (0, 1, ("R", "L", "A")), 1: (0, 2, ("R", "L", "S")), 0: (1, 2, ("P", "A", "S"))}


@dataclass(frozen=True)
class _Scan:
    """A scan in RAS order: image, mask, voxel to world, voxel edges."""

    image: NDArray
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    top: float

    @property
    def centre(self) -> list[int]:
        """The voxel through which the cuts go: the middle of the mask, or of the image where the mask is empty."""
        held = np.argwhere(self.mask)
        middle = held.mean(axis=0) if len(held) else (np.array(self.mask.shape) - 1) / 2
        return np.rint(middle).astype(int).tolist()


def draw_quality_picture(
    path: str | os.PathLike[str],
    *,
    image: ArrayLike,
    brain_mask: ArrayLike,
    checks: Sequence[Mapping[str, Any]],
    title: str = "",
    template: ArrayLike | None = None,
    template_affine: ArrayLike | None = None,
    affine: ArrayLike | None = None,
    dpi: int = 100,
) -> None:
    """Draw three cuts of a scan with the outline of its brain mask, the template there, and what failed, as PNG.

    The cuts go through the middle of the mask, each voxel as large as it is in mm. Up is where the header says that the
    top or the front of the head is, and what it calls the patient's right is on the left; a scan that lies on its side
    there has a wrong header.

    Args:
        path: the PNG file.
        image: [H, W, D], the scan.
        brain_mask: [H, W, D], 1 inside the brain.
        checks: dicts with `text`, `passed` and `fatal`; those that passed are only counted.
        title: a line above the picture.
        template: [X, Y, Z], the template that the scan was aligned to; a second row shows it at the same places.
        template_affine: [4, 4], its voxel indices to the scan's own world as the alignment found it, mm.
        affine: [4, 4], voxel indices of the scan to its own world (RAS), mm; None when the volumes are RAS already,
            with voxels of 1 mm.
        dpi: pixels an inch; a cut is 3 inches wide.

    Raises:
        InputError: when the mask has not the image's shape [H, W, D], or of `template` and `template_affine` only one
            is given.
    """
    scan = _checked_scan(np.asarray(image), np.asarray(brain_mask) > 0, affine)
    if (template is None) != (template_affine is None):
        raise InputError("`template` and `template_affine` must be given both or not at all")
    rows = [scan.image]
    if template is not None and template_affine is not None:
        rows.append(_template_on(scan, np.asarray(template), np.asarray(template_affine)))
    lines = _lines(checks)
    words = _LINE_INCHES * (len(lines) + 2)
    figure = Figure(figsize=(3 * _CELL_INCHES, len(rows) * _CELL_INCHES + words), facecolor=BACKGROUND)
    cells = figure.subplots(len(rows), 3, squeeze=False)
    height = figure.get_figheight()
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=(words - _LINE_INCHES) / height, top=1 - 1.5 * _LINE_INCHES / height,
        wspace=0.02, hspace=0.02,
    )  # fmt: skip
    for row, volume in zip(cells, rows, strict=True):
        top = scan.top if volume is scan.image else _top(volume, volume > 0)
        for cell, axis in zip(row, _CUTS, strict=True):
            _draw_cut(cell, scan, volume, axis, top=top)
    for row, name in zip(cells, ("scan, brain mask", "template"), strict=False):
        row[0].text(0.02, 0.02, name, transform=row[0].transAxes, color=TEXT, fontsize=8)
    figure.suptitle(title, color=TEXT, fontsize=11, y=1 - 0.5 * _LINE_INCHES / height)
    for number, (line, colour) in enumerate(lines):
        y = (words - (number + 2) * _LINE_INCHES) / height
        figure.text(0.015, y, line, color=colour, fontsize=9, va="bottom")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=BACKGROUND)


def _checked_scan(image: NDArray, mask: NDArray[np.bool_], affine: ArrayLike | None) -> _Scan:
    if image.ndim != 3:
        raise InputError(f"`image` must have shape [H, W, D], got {image.shape}")
    if mask.shape != image.shape:
        raise InputError(f"`brain_mask` must have the image's shape {image.shape}, got {mask.shape}")
    matrix = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
    turned = matrix @ nib.orientations.inv_ornt_aff(nib.orientations.io_orientation(matrix), image.shape)
    upright = np.nan_to_num(to_ras(image, matrix).astype(np.float32), posinf=0, neginf=0)
    brain = to_ras(mask, matrix)
    return _Scan(upright, brain, turned, np.linalg.norm(turned[:3, :3], axis=0), _top(upright, brain))


def _top(volume: NDArray, inside: NDArray[np.bool_]) -> float:
    """Return the brightness that is shown white: the 99.5th percentile in the mask, else the largest, never 0."""
    values = volume[inside] if inside.any() else volume
    return float(np.percentile(values, 99.5)) or float(np.abs(values).max()) or 1.0


def _template_on(scan: _Scan, template: NDArray, template_affine: NDArray) -> NDArray[np.float32]:
    """Return the template on the scan's grid, at the three cuts only; 0 elsewhere."""
    to_template = np.linalg.solve(np.asarray(template_affine, dtype=np.float64), scan.affine)
    volume = np.zeros(scan.image.shape, dtype=np.float32)
    for axis, index in enumerate(scan.centre):
        shape = np.where(np.arange(3) == axis, 1, volume.shape).tolist()
        voxels = np.indices(shape).reshape(3, -1).astype(np.float64)
        voxels[axis] = index
        positions = to_template[:3, :3] @ voxels + to_template[:3, 3:]
        where = tuple(slice(index, index + 1) if a == axis else slice(None) for a in range(3))
        volume[where] = map_coordinates(template.astype(np.float32), positions, order=1).reshape(shape)
    return volume


def _draw_cut(cell: Axes, scan: _Scan, volume: NDArray, axis: int, *, top: float) -> None:
    """Draw one cut, with the mask's outline and the sides in letters."""
    across, up, (left, right, above) = _CUTS[axis]
    index = scan.centre[axis]
    step = -1 if left == "R" else 1  # radiological: the patient's right is on the left

    def picture(array: NDArray) -> NDArray:
        return np.take(array, index, axis=axis).T[::-1, ::step]

    edges = scan.spacing_mm
    # A few voxels below 0, as splines leave them, would turn the background grey.
    black = min(0.0, float(np.percentile(volume, 0.5)))
    cell.imshow(picture(volume), cmap="gray", vmin=black, vmax=top, aspect=edges[up] / edges[across])
    outline = picture(scan.mask)
    if outline.any() and not outline.all():
        cell.contour(outline.astype(np.float32), levels=[0.5], colors=[BRAIN], linewidths=0.9)
    cell.set_axis_off()
    for x, y, letter in ((0.03, 0.5, left), (0.97, 0.5, right), (0.5, 0.97, above)):
        cell.text(x, y, letter, transform=cell.transAxes, color=TEXT, fontsize=8, ha="center", va="center")


def _lines(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the failed checks as lines with their colour, refusals first, and how many passed."""
    failed = sorted((check for check in checks if not check.get("passed")), key=lambda check: not check.get("fatal"))
    lines = []
    for check in failed:
        mark, colour = ("refused", _FAILED) if check.get("fatal") else ("warning", _WARNED)
        wrapped = textwrap.wrap(f"{mark}: {check.get('text', '')}", _LINE_LETTERS, subsequent_indent="    ")
        lines += [(line, colour) for line in wrapped]
    lines.append((f"{len(checks) - len(failed)} of {len(checks)} checks passed", TEXT))
    return lines
