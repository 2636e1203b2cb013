"""What changed since a baseline scan: words and a picture for the page, and a table of all changes of a cohort."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scripts.report.display import BACKGROUND, CHANGES, DisplayVolumes, SlicePicture, choose_slices, png_bytes, write_on
from scripts.report.tables import DASH, write_csv
from scripts.report.words import show_number

__all__ = ["change_words", "draw_changes", "write_changes"]

_KINDS = tuple(CHANGES)  # from much more to much less; their places count from 1 in `change_dseg`
_UNCHANGED = "unchanged"
_COLUMNS = (
    "case", "baseline", "modality", "status", "reasons", "rank", "change", "place", "side", "lobe", "structure",
    "before_ml", "after_ml", "change_ml", "difference", "evidence",
)  # fmt: skip
_POINTS = {"peak_mm": "peak", "peak_mni_mm": "peak_mni"}
_CELL_INCHES = 1.7
_LEAST_DPI = 110
_DIFFERENCE = "RdBu_r"


def change_words(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the page says of the changes; None where the scan was not compared with another one.

    Args:
        result: the content of `result.json`.
    """
    change = result.get("change")
    if not isinstance(change, Mapping):
        return None
    words: dict[str, Any] = {"baseline": str(change.get("baseline")), "reasons": list(change.get("reasons") or [])}
    words |= {"date": change.get("baseline_date"), "done": change.get("status") == "ok"}
    if not words["done"]:
        return words
    alignment, rules = change["alignment"], change["rules"]
    rows = change["regions"]
    words["tiles"] = [
        (kind.capitalize(), str(change[kind]["count"]), f"{show_number(change[kind]['change_ml'], 1)} ml")
        for kind in _KINDS
        if kind != _UNCHANGED
    ]
    words["colours"] = CHANGES
    words["rows"] = [_row(row) for row in rows]
    words["fit"] = (
        f"Between the sessions the head turned by {show_number(alignment['turn_deg'], 1)}° and moved by "
        f"{show_number(alignment['shift_mm'], 1)} mm; aligned, the brains overlap by "
        f"{show_number(alignment['overlap'], 2)} (Dice) and the scans correlate by "
        f"{show_number(alignment['similarity'], 2)}."
    )
    words["rules"] = (
        f"A region counts as changed where its volume differs by at least {rules['min_change_ml']:g} ml and "
        f"{rules['min_change_share']:.0%} of the larger volume, and the map by at least {rules['min_difference']:.3g} "
        f"on average; regions closer than {rules['tolerance_mm']:g} mm are taken together."
    )
    left_out = change.get("not_compared_ml") or 0
    words["left_out"] = f"{show_number(float(left_out), 1)} ml" if left_out > 0 else None
    return words


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("rank", "change", "before_ml", "after_ml", "change_ml", "difference")},
        "place": row.get("place") or DASH,
        "jump": str([float(value) for value in row["peak_mm"]]),
    }


def write_changes(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one CSV line a region of each scan that was compared with a baseline, unchanged ones too.

    A scan without a region, or whose comparison failed, has one line. Volumes are in ml on the follow-up's grid,
    positions in mm.

    Args:
        path: the CSV file.
        rows: `result.json` of each scan.
    """
    lines: list[dict[str, Any]] = []
    for row in rows:
        change = row.get("change")
        if not isinstance(change, Mapping):
            continue
        scan = {"case": row.get("case"), "modality": row.get("modality"), "baseline": change.get("baseline")}
        scan |= {"status": change.get("status"), "reasons": "; ".join(change.get("reasons") or [])}
        regions = change.get("regions") or [{}]
        lines += [{**scan, **region, **_coordinates(region)} for region in regions]
    points = [f"{name}_{axis}_mm" for name in _POINTS.values() for axis in "xyz"]
    write_csv(path, lines, columns=(*_COLUMNS, *points))


def _coordinates(region: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{name}_{axis}_mm": value
        for key, name in _POINTS.items()
        for axis, value in zip("xyz", region.get(key) or (), strict=False)
    }


def draw_changes(display: DisplayVolumes, *, least: float, num_slices: int = 6) -> bytes:
    """Draw axial slices as PNG: baseline and follow-up, both with the regions' outlines, and the difference of maps.

    Args:
        display: `image`, `baseline`, `difference_map` and `change_dseg`.
        least: smallest difference that counts; the colour scale reaches at least twice as far.
        num_slices: how many slices.

    Returns:
        The PNG file.
    """
    pictures = display.pictures(_slices(display, num_slices))
    spacing = display.spacing_mm
    top = max(2 * least, float(np.percentile(np.abs(display.inside("difference_map")), 99.9))) or 1.0
    width, height, _ = np.array(display.volumes["image"].shape) * spacing
    size = (_CELL_INCHES * len(pictures), 3 * _CELL_INCHES * float(height / width))
    figure = Figure(figsize=size, facecolor=BACKGROUND)
    grid = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.02, "hspace": 0.02}
    cells = figure.subplots(3, len(pictures), squeeze=False, gridspec_kw=grid)
    aspect = spacing[1] / spacing[0]
    for axis in cells.flat:
        axis.axis("off")
    for column, picture in enumerate(pictures):
        for row, (name, text) in enumerate((("baseline", "baseline"), ("image", "follow-up"))):
            low, high = display.window(name)
            cells[row, column].imshow(picture.layers[name], cmap="gray", vmin=low, vmax=high, aspect=aspect)
            _outline(cells[row, column], picture)
            write_on(cells[row, column], 0.02, 0.96, f"{text} z {picture.height_mm:.0f}" if row else text)
        cells[2, column].imshow(picture.layers["difference_map"], cmap=_DIFFERENCE, vmin=-top, vmax=top, aspect=aspect)
        write_on(cells[2, column], 0.02, 0.96, f"difference, ±{top:.2g}", colour="black")
    own = int(np.ceil(display.volumes["image"].shape[0] / _CELL_INCHES))
    return png_bytes(figure, max(_LEAST_DPI, own))


def _outline(axis: Any, picture: SlicePicture) -> None:
    kinds = picture.layers["change_dseg"]
    for number, colour in enumerate(CHANGES.values(), start=1):
        own = kinds == number
        if own.any() and not own.all():
            axis.contour(own, levels=[0.5], colors=[colour], linewidths=1.2)


def _slices(display: DisplayVolumes, num_slices: int) -> list[int]:
    """Choose slices with most change, or those of any region, or those that the other picture shows."""
    kinds = display.volumes["change_dseg"]
    changed: NDArray = ((kinds > 0) & (kinds < len(CHANGES))).sum(axis=(0, 1))
    weight = changed if changed.any() else (kinds > 0).sum(axis=(0, 1))
    if weight.any():
        return sorted(choose_slices(weight, num_slices))
    return display.slices_to_show(num_slices)
