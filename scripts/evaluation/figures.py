"""The pictures of an evaluation: a panel per case, precision-recall curves per data set."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scripts.errors import InputError
from scripts.evaluation.case import EvaluatedCase
from scripts.evaluation.rows import RECONSTRUCTION
from scripts.evaluation.scores import RunScores
from scripts.files import replacing
from scripts.metrics.score_counts import pooled_precision_recall, pooled_voxel_scores
from scripts.report.panel import draw_panel
from scripts.report.tables import format_number

__all__ = [
    "BEST_MEDIAN_WORST",
    "PrecisionRecallCurve",
    "chosen_panels",
    "draw_case",
    "draw_curves",
    "draw_precision_recall",
    "panel_point",
    "read_panels",
]


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
        InputError: when there is no curve.
    """
    if not curves:
        raise InputError("`curves` must hold at least one curve, got none")
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


BEST_MEDIAN_WORST = "best_median_worst"
Case = tuple[str, str]  # data set and name


def read_panels(panels: int | str) -> int | str:
    """Check the option `panels`.

    Raises:
        InputError: when it is none of "all", "best_median_worst" and a number of cases.
    """
    words = ("all", BEST_MEDIAN_WORST)
    if panels not in words and (isinstance(panels, bool) or not isinstance(panels, int) or panels < 0):
        raise InputError(f"`panels` must be 'all', {BEST_MEDIAN_WORST!r} or a number of cases, got {panels!r}")
    return panels


def chosen_panels(rows: Sequence[Mapping[str, Any]], panels: int | str, *, volume: str | None) -> dict[Case, str]:
    """Choose cases.

    Args:
        rows: one per case, of the map in the pictures, in the order of the tables.
        panels: "all", the first so many, or "best_median_worst": of each data set the case with the highest, the middle
            and the lowest AUPRC; healthy cases by the volume in column `volume`, the smallest first.
        volume: column to judge healthy cases by; None without an operating point.

    Returns:
        {(data set, case): a word for the file's name, "" for none}.
    """
    keys = [(row["dataset"], row["case"]) for row in rows]
    if panels != BEST_MEDIAN_WORST:
        return dict.fromkeys(keys if panels == "all" else keys[: int(panels)], "")
    chosen: dict[Case, str] = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in keys):
        own = [row for row in rows if row["dataset"] == dataset]
        ranked = sorted(own, key=lambda row: _merit(row, volume), reverse=True)
        if any(row["lesion_ml"] > 0 for row in own):
            ranked = [row for row in ranked if not math.isnan(row["auprc"])]
        words = {0: "best", len(ranked) - 1: "worst", (len(ranked) - 1) // 2: "median"}
        # Of one or two cases the words coincide: best before worst, both before median.
        words |= {len(ranked) - 1: "worst"} | {0: "best"}
        chosen |= {(dataset, ranked[place]["case"]): word for place, word in words.items()}
    return chosen


def _merit(row: Mapping[str, Any], volume: str | None) -> tuple[float, str]:
    """Return a number that is higher for better cases; names make the order of equal ones certain."""
    value = -float(row.get(volume, 0.0)) if math.isnan(row["auprc"]) and volume else row["auprc"]
    return (-math.inf if math.isnan(value) else value), row["case"]


def panel_point(points: Mapping[str, float]) -> str | None:
    """Choose the operating point that a picture shows: validation before this run's own, best Dice before healthy."""
    preferred = ["validation_best_dice", "pooled_best_dice", *points]
    return next((point for point in preferred if point in points), None)


def draw_case(
    folder: Path,
    case: EvaluatedCase,
    row: Mapping[str, Any],
    points: Mapping[str, float],
    *,
    map_maximum: float,
    word: str = "",
) -> Path:
    """Draw one case as `DATASET_CASE.png`, or `DATASET_WORD_CASE.png`, and return the file.

    Args:
        folder: where the picture goes.
        case: the case.
        row: its row of `cases.csv` for the map to draw.
        points: operating points of that map.
        map_maximum: top of the colour scale.
        word: what the case stands for, such as "best".
    """
    name, point = str(row["map"]), panel_point(points)
    parts = [f"{case.dataset} · {case.case}{f' ({word})' if word else ''}"]
    if row["lesion_ml"] > 0:
        parts += [f"lesion {row['lesion_ml']:.1f} ml", f"AUPRC {format_number(row['auprc'])}"]
        if point is not None:
            parts.append(f"Dice {format_number(row[f'dice_at_{point}'])} ({point})")
    elif point is not None:
        parts.append(f"no lesion label · {row[f'predicted_ml_at_{point}']:.1f} ml predicted ({point})")
    path = folder / f"{'_'.join(_file_name(part) for part in (case.dataset, word, case.case) if part)}.png"
    draw_panel(
        path,
        image=case.image,
        anomaly_map=case.channels[name],
        reconstruction=case.channels.get(RECONSTRUCTION),
        label=case.label,
        brain_mask=case.brain_mask,
        threshold=None if point is None else points[point],
        affine=case.affine,
        spacing_mm=case.spacing_mm,
        map_name=name,
        map_maximum=map_maximum,
        title=" · ".join(parts),
    )
    return path


def draw_curves(folder: Path, run: RunScores, map_names: Sequence[str]) -> dict[str, Path]:
    """Draw the pooled curves of all maps as `pr_curve_DATASET.png`, one picture per data set with lesions.

    Returns:
        The files by data set.
    """
    paths = {}
    for group in run.groups():
        if len(group) > 1:
            continue
        curves, prevalence = {}, 0.0
        for name in map_names:
            counts = run.counts(group, name)
            prevalence = counts.num_positives / counts.num_voxels
            curves[name] = PrecisionRecallCurve(*pooled_precision_recall(counts), pooled_voxel_scores(counts).auprc)
        title = f"{group[0]}: voxels of all cases"
        path = folder / f"pr_curve_{_file_name(group[0])}.png"
        draw_precision_recall(path, curves, prevalence=prevalence, title=title)
        paths[group[0]] = path
    return paths


def _file_name(name: str) -> str:
    """Return a name with only letters, digits, dot, dash and underscore."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "unnamed"
