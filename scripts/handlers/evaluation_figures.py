"""The pictures of an evaluation: a panel per case, precision-recall curves per data set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.handlers.case_rows import RECONSTRUCTION
from scripts.handlers.evaluated_case import EvaluatedCase
from scripts.handlers.run_scores import RunScores
from scripts.metrics.voxel_scores import pooled_precision_recall, pooled_voxel_scores
from scripts.report.panel import draw_panel
from scripts.report.pr_curve import PrecisionRecallCurve, draw_precision_recall
from scripts.report.tables import format_number

__all__ = ["draw_case", "draw_curves", "panel_point"]


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
) -> None:
    """Draw one case as `DATASET_CASE.png`, or `DATASET_WORD_CASE.png`.

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
    draw_panel(
        folder / f"{'_'.join(_file_name(part) for part in (case.dataset, word, case.case) if part)}.png",
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


def draw_curves(folder: Path, run: RunScores, map_names: Sequence[str]) -> None:
    """Draw the pooled curves of all maps as `pr_curve_DATASET.png`, one picture per data set with lesions."""
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


def _file_name(name: str) -> str:
    """Return a name with only letters, digits, dot, dash and underscore."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "unnamed"
