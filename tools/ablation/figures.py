"""One figure for each axis of an ablation: AUPRC, and its difference to the base, against the value of a setting."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.files import replacing
from tools.ablation.grid import Axis, value_text

__all__ = ["draw_axes"]

_LOG_FROM = 30  # ratio of the largest value to the smallest at which the axis becomes logarithmic
_LEAST_DIFFERENCE = 0.005  # the panel of differences shows at least this much, so that rounding looks like nothing
_DPI = 100


def draw_axes(folder: Path, axes: Sequence[Axis], table: Sequence[Mapping[str, Any]], *, base: str) -> list[Path]:
    """Draw every axis into a PNG and return the files.

    The upper panel has the mean AUPRC over cases, the lower one its difference to the base, which tells more, as cases
    differ more from each other than settings do. Bars are 95 % bootstrap intervals; a star marks the base.

    Args:
        folder: where to write, made if missing.
        axes: what to draw.
        table: one mapping a row, as `table_rows` returns it.
        base: name of the base's row.
    """
    by_name = {row["setting"]: row for row in table}
    files = []
    for axis in axes:
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', axis.name)}.png"
        _draw(path, axis, by_name, base)
        files.append(path)
    return files


def _draw(path: Path, axis: Axis, rows: Mapping[str, Mapping[str, Any]], base: str) -> None:
    places, labels, joined, logarithmic = _places([value for line in axis.lines.values() for value, _ in line])
    figure = Figure(figsize=(7, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    width = _step(list(places.values()), logarithmic)
    for index, (label, line) in enumerate(axis.lines.items()):
        shift = (index - (len(axis.lines) - 1) / 2) * 0.08
        points = sorted((_shifted(places[value_text(value)], shift, width, logarithmic), name) for value, name in line)
        for panel, column in ((upper, "auprc"), (lower, "auprc_difference")):
            style = {"color": colours[index % len(colours)], "label": label, "linestyle": "-" if joined else "none"}
            _draw_line(panel, points, rows, column, base, style=style)
    lower.axhline(0, color="gray", linewidth=1, linestyle=":")
    low, high = lower.get_ylim()
    lower.set_ylim(min(low, -_LEAST_DIFFERENCE), max(high, _LEAST_DIFFERENCE))
    if logarithmic:
        lower.set_xscale("log")
    else:
        lower.set_xticks(list(places.values()), labels, rotation=30 if max(map(len, labels)) > 8 else 0)
    upper.set(ylabel="AUPRC, mean over cases", title=axis.name.replace("_", " ") if len(axis.lines) > 1 else axis.key)
    lower.set(ylabel="AUPRC, difference to base", xlabel=axis.key)
    for panel in (upper, lower):
        panel.grid(alpha=0.3)
    if len(axis.lines) > 1:
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def _draw_line(
    panel: Axes,
    points: Sequence[tuple[float, str]],
    rows: Mapping[str, Mapping[str, Any]],
    column: str,
    base: str,
    *,
    style: Mapping[str, Any],
) -> None:
    x = [place for place, _ in points]
    y = [_value(rows[name], column, name == base) for _, name in points]
    ends = [[_value(rows[name], f"{column}_{end}", name == base) for _, name in points] for end in ("low", "high")]
    below = [_distance(value, low) for value, low in zip(y, ends[0], strict=True)]
    above = [_distance(high, value) for value, high in zip(y, ends[1], strict=True)]
    panel.errorbar(x, y, yerr=[below, above], marker="o", markersize=4, capsize=3, **style)
    marked = [(place, value) for (place, name), value in zip(points, y, strict=True) if name == base]
    panel.plot([m[0] for m in marked], [m[1] for m in marked], "*", color="black", markersize=13, zorder=5)


def _value(row: Mapping[str, Any], column: str, is_base: bool) -> float:
    """Return a number of a row; the base's difference to itself is 0."""
    return 0.0 if is_base and column.startswith("auprc_difference") else float(row[column])


def _distance(high: float, low: float) -> float:
    """Return the length of a bar, none where an end does not exist."""
    return 0.0 if math.isnan(high - low) else max(high - low, 0.0)


def _places(values: Sequence[Any]) -> tuple[dict[str, float], list[str], bool, bool]:
    """Return where each value lies along x, the labels, whether points are joined, and whether x is logarithmic.

    Numbers lie where they are, in order; where any value is none, all lie side by side in the order given.
    """
    unique = {value_text(value): value for value in values}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in unique.values())
    if not numbers:
        return {text: float(place) for place, text in enumerate(unique)}, list(unique), False, False
    ordered = dict(sorted(unique.items(), key=lambda item: item[1]))
    low, high = min(ordered.values()), max(ordered.values())
    places = {text: float(value) for text, value in ordered.items()}
    return places, list(ordered), True, low > 0 and high / low >= _LOG_FROM


def _step(places: Sequence[float], logarithmic: bool) -> float:
    """Return the smallest distance of two places, in decades on a logarithmic axis."""
    ordered = sorted(math.log10(place) if logarithmic else place for place in places)
    return min((b - a for a, b in itertools.pairwise(ordered)), default=1.0)


def _shifted(place: float, shift: float, width: float, logarithmic: bool) -> float:
    """Move a point by a share of the step, so that the bars of several lines do not lie on each other."""
    return place * 10 ** (shift * width) if logarithmic else place + shift * width
