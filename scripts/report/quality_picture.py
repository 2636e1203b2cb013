"""One picture that shows why quality control refused or warned about a scan."""

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
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from scripts.files import replacing
from scripts.report.colours import BACKGROUND, BRAIN, TEXT
from scripts.report.display import to_ras

__all__ = ["draw_quality_picture"]

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
        ValueError: when the mask has not the image's shape [H, W, D], or of `template` and `template_affine` only one
            is given.
    """
    scan = _checked_scan(np.asarray(image), np.asarray(brain_mask) > 0, affine)
    if (template is None) != (template_affine is None):
        raise ValueError("`template` and `template_affine` must be given both or not at all")
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
        raise ValueError(f"`image` must have shape [H, W, D], got {image.shape}")
    if mask.shape != image.shape:
        raise ValueError(f"`brain_mask` must have the image's shape {image.shape}, got {mask.shape}")
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
