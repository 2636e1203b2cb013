"""Precision against recall over all thresholds, one line per anomaly map."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scripts.files import replacing
from scripts.report.tables import format_number

__all__ = ["PrecisionRecallCurve", "draw_precision_recall"]


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """A curve to draw.

    Attributes:
        recall: [N] ascending, in [0, 1].
        precision: [N], in [0, 1].
        auprc: area in [0, 1], for the legend.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    auprc: float


def draw_precision_recall(
    path: str | os.PathLike[str],
    curves: Mapping[str, PrecisionRecallCurve],
    *,
    prevalence: float | None = None,
    title: str = "",
    dpi: int = 100,
) -> None:
    """Draw precision-recall curves into one PNG, the best at the top of the legend.

    Args:
        path: the PNG file.
        curves: curve per map name.
        prevalence: share of lesion voxels in [0, 1], the precision of a random score; drawn as a dotted line.
        title: a line above the picture.
        dpi: pixels an inch; the picture is 7 by 5 inches.

    Raises:
        ValueError: when there is no curve.
    """
    if not curves:
        raise ValueError("`curves` must hold at least one curve, got none")
    figure = Figure(figsize=(7, 5), layout="constrained")
    axis = figure.subplots()
    ordered = sorted(curves.items(), key=lambda item: -item[1].auprc)
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    for place, (name, curve) in enumerate(ordered):
        axis.plot(
            curve.recall,
            curve.precision,
            color=colours[place % len(colours)],
            linestyle="-" if place < len(colours) else "--",
            label=f"{name} ({format_number(curve.auprc)})",
        )
    if prevalence is not None:
        axis.axhline(prevalence, color="gray", linestyle=":", label=f"random ({format_number(prevalence)})")
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    axis.grid(alpha=0.3)
    axis.legend(title="map (AUPRC)", fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
