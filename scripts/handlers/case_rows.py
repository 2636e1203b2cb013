"""The row of the tables that belongs to one case and one map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.handlers.evaluated_case import EvaluatedCase
from scripts.handlers.run_scores import Region
from scripts.metrics.best_dice import DiceSearch, greedy_dice, pooled_best_dice
from scripts.metrics.compact_counts import count_around, counts_from_around, lesion_counts
from scripts.metrics.reconstruction_error import reconstruction_error
from scripts.metrics.score_counts import ScoreCounts
from scripts.metrics.segmentation_scores import segmentation_scores
from scripts.metrics.slice_scores import SliceScores, slice_scores
from scripts.metrics.voxel_scores import pooled_voxel_scores, voxel_scores

__all__ = ["case_row", "case_slices", "operating_point_columns", "slice_rows"]

RECONSTRUCTION = "reconstruction"


def case_row(
    case: EvaluatedCase,
    map_name: str,
    slices: SliceScores,
    *,
    region: Region,
    search: DiceSearch = DiceSearch.EXACT,
) -> dict[str, Any]:
    """Compute every metric that needs no common threshold.

    Returns:
        Columns `dataset`, `case`, `map`, the carried ones, then `brain_ml`, `lesion_ml`, `auprc`, `auroc`,
        `oracle_dice`, `oracle_threshold` (the best for this very case, by `search`), `slice_auprc`, `slice_auroc`, and
        the l1/l2 reconstruction errors when there is a reconstruction. NaN where there is no lesion.
    """
    target = _inside(case.target, case, region)
    counts = _case_counts(case, map_name, target, region)
    areas, slice_areas = pooled_voxel_scores(counts), voxel_scores(slices.score, slices.has_lesion)
    if search is DiceSearch.GREEDY:
        inside = case.brain_mask if region is Region.BRAIN else np.ones_like(case.brain_mask)
        oracle = greedy_dice(case.channels[map_name][inside], target[inside])
    else:
        oracle = pooled_best_dice(counts)
    voxel_ml = float(np.prod(case.spacing_mm)) / 1000
    row: dict[str, Any] = {
        "dataset": case.dataset,
        "case": case.case,
        "map": map_name,
        **case.details,
        "brain_ml": float(case.brain_mask.sum()) * voxel_ml,
        "lesion_ml": float(target.sum()) * voxel_ml,
        "auprc": areas.auprc,
        "auroc": areas.auroc,
        "oracle_dice": oracle.dice,
        "oracle_threshold": oracle.threshold,
        "slice_auprc": slice_areas.auprc,
        "slice_auroc": slice_areas.auroc,
    }
    if RECONSTRUCTION in case.channels:
        errors = reconstruction_error(
            case.image, case.channels[RECONSTRUCTION], case.target, brain_mask=case.brain_mask
        )
        row |= errors._asdict()
    return row


def operating_point_columns(
    case: EvaluatedCase, map_name: str, points: Mapping[str, float], *, region: Region
) -> dict[str, float]:
    """Compute the mask's metrics at each operating point: columns `METRIC_at_POINT` and `threshold_at_POINT`.

    To those of `segmentation_scores` comes `false_positive_rate`: the share of the brain's voxels outside lesions that
    is predicted.
    """
    healthy = case.brain_mask & ~case.target
    target = _inside(case.target, case, region)
    columns: dict[str, float] = {}
    for point, threshold in points.items():
        # The threshold is rounded to the map's float32 first, so that the comparison is the same one everywhere.
        prediction = _inside(case.channels[map_name] >= np.float32(threshold), case, region)
        scores = segmentation_scores(prediction, target, spacing_mm=case.spacing_mm)
        columns[f"threshold_at_{point}"] = threshold
        columns |= {f"{name}_at_{point}": value for name, value in scores._asdict().items()}
        rate = float(prediction[healthy].mean()) if healthy.any() else math.nan
        columns[f"false_positive_rate_at_{point}"] = rate
    return columns


def case_slices(case: EvaluatedCase, map_name: str, *, region: Region) -> SliceScores:
    """Reduce one map of a case to its slices."""
    return slice_scores(case.channels[map_name], _inside(case.target, case, region), brain_mask=case.brain_mask)


def slice_rows(case: EvaluatedCase, map_name: str, slices: SliceScores) -> list[dict[str, Any]]:
    """Return one row per slice: `dataset`, `case`, `map`, `slice`, `score`, `has_lesion`."""
    return [
        {
            "dataset": case.dataset,
            "case": case.case,
            "map": map_name,
            "slice": int(index),
            "score": float(score),
            "has_lesion": bool(lesion),
        }
        for index, score, lesion in zip(slices.position, slices.score, slices.has_lesion, strict=True)
    ]


def _case_counts(
    case: EvaluatedCase, map_name: str, target: NDArray[np.bool_], region: Region
) -> ScoreCounts:
    """Count the region's voxels of one case; the zeros outside the brain are counted without being sorted."""
    scores = case.channels[map_name]
    lesions = lesion_counts(scores[target])
    around = count_around(lesions, scores[case.brain_mask & ~target])
    outside = 0 if region is Region.BRAIN else int((~case.brain_mask & ~target).sum())
    return counts_from_around(lesions, around).with_zeros(positives=0, negatives=outside)


def _inside(mask: NDArray[np.bool_], case: EvaluatedCase, region: Region) -> NDArray[np.bool_]:
    """Return the part of a mask that lies in the region."""
    return mask & case.brain_mask if region is Region.BRAIN else mask
