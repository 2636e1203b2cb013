"""The rows of the tables: one for each case and map, and one for each size of lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripts.evaluation.case import EvaluatedCase
from scripts.evaluation.scores import Region
from scripts.metrics.score_counts import (
    ScoreCounts,
    SliceScores,
    count_around,
    counts_from_around,
    lesion_counts,
    pooled_voxel_scores,
    slice_scores,
    voxel_scores,
)
from scripts.metrics.segmentation import SizeBin, find_lesions, lesion_recall, reconstruction_error, segmentation_scores
from scripts.metrics.thresholds import pooled_best_dice
from scripts.report.pages import Block, Table
from scripts.report.tables import DASH, format_number

__all__ = ["case_row", "case_slices", "lesion_rows", "operating_point_columns", "size_block", "size_rows", "slice_rows"]

RECONSTRUCTION = "reconstruction"


def case_row(case: EvaluatedCase, map_name: str, slices: SliceScores, *, region: Region) -> dict[str, Any]:
    """Compute every metric that needs no common threshold.

    Returns:
        Columns `dataset`, `case`, `map`, the carried ones, then `brain_ml`, `lesion_ml`, `auprc`, `auroc`,
        `oracle_dice`, `oracle_threshold` (the best for this very case), `slice_auprc`, `slice_auroc`, and
        the l1/l2 reconstruction errors when there is a reconstruction. NaN where there is no lesion.
    """
    target = _inside(case.target, case, region)
    counts = _case_counts(case, map_name, target, region)
    areas, slice_areas = pooled_voxel_scores(counts), voxel_scores(slices.score, slices.has_lesion)
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


def _case_counts(case: EvaluatedCase, map_name: str, target: NDArray[np.bool_], region: Region) -> ScoreCounts:
    """Count the region's voxels of one case; the zeros outside the brain are counted without being sorted."""
    scores = case.channels[map_name]
    lesions = lesion_counts(scores[target])
    around = count_around(lesions, scores[case.brain_mask & ~target])
    outside = 0 if region is Region.BRAIN else int((~case.brain_mask & ~target).sum())
    return counts_from_around(lesions, around).with_zeros(positives=0, negatives=outside)


def _inside(mask: NDArray[np.bool_], case: EvaluatedCase, region: Region) -> NDArray[np.bool_]:
    """Return the part of a mask that lies in the region."""
    return mask & case.brain_mask if region is Region.BRAIN else mask


_RECALL = "recall_at_"


def lesion_rows(
    case: EvaluatedCase, points: Mapping[str, Mapping[str, float]], *, region: Region
) -> list[dict[str, Any]]:
    """Return a row per lesion and map: `dataset`, `case`, `map`, `lesion`, `volume_ml`, `recall_at_POINT`.

    Args:
        case: the case.
        points: operating points {map: {name: threshold}}.
        region: whether the lesions' parts outside the brain count.
    """
    target = case.target & case.brain_mask if region is Region.BRAIN else case.target
    if not target.any():
        return []
    lesions = find_lesions(target, spacing_mm=case.spacing_mm)
    rows = []
    for name, thresholds in points.items():
        scores = case.channels[name]
        recalls = {
            f"{_RECALL}{point}": lesion_recall(lesions, scores >= np.float32(threshold))
            for point, threshold in thresholds.items()
        }
        for index, volume in enumerate(lesions.volume_ml):
            head = {"dataset": case.dataset, "case": case.case, "map": name, "lesion": index + 1}
            own = {column: float(values[index]) for column, values in recalls.items()}
            rows.append({**head, "volume_ml": float(volume), **own})
    return rows


def size_rows(rows: Sequence[Mapping[str, Any]], bins: Sequence[SizeBin]) -> list[dict[str, Any]]:
    """Summarise the rows of all lesions.

    Args:
        rows: of `lesion_rows`.
        bins: volumes.

    Returns:
        A row per data set, map, operating point and bin that holds a lesion: `low_ml`, `high_ml`, `n_lesions`,
        `n_found` (one predicted voxel is enough), `sensitivity` (their share), `mean_recall` (of the voxels, over
        lesions).
    """
    table: list[dict[str, Any]] = []
    for dataset, name in dict.fromkeys((row["dataset"], row["map"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["map"]) == (dataset, name)]
        columns = dict.fromkeys(column for row in own for column in row if column.startswith(_RECALL))
        for column in columns:
            for low, high in bins:
                recall = np.array([row[column] for row in own if low <= row["volume_ml"] < high])
                if recall.size:
                    table.append(
                        {
                            "dataset": dataset,
                            "map": name,
                            "operating_point": column.removeprefix(_RECALL),
                            "low_ml": low,
                            "high_ml": high,
                            "n_lesions": recall.size,
                            "n_found": int((recall > 0).sum()),
                            "sensitivity": float((recall > 0).mean()),
                            "mean_recall": float(recall.mean()),
                        }
                    )
    return table


def size_block(
    table: Sequence[Mapping[str, Any]], bins: Sequence[SizeBin], *, map_name: str, points: Mapping[str, str | None]
) -> Block:
    """Return the sensitivity by volume of one map for readers; empty without a lesion.

    Args:
        table: of `size_rows`.
        bins: the columns.
        map_name: the map.
        points: the operating point to show of each data set.
    """
    lines = []
    for dataset, point in points.items():
        wanted = (dataset, map_name, point)
        own = {row["low_ml"]: row for row in table if (row["dataset"], row["map"], row["operating_point"]) == wanted}
        if own:
            cells = [_share(own.get(low)) for low, _ in bins]
            lines.append([dataset, str(point), str(sum(row["n_lesions"] for row in own.values())), *cells])
    if not lines:
        return Block()
    header = ["data set", "operating point", "lesions", *(_bin_name(one) for one in bins)]
    text = f"Lesions of which at least one voxel is found, by volume ({map_name}): share (found / all)."
    return Block(text, Table(header, lines))


def _share(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return DASH
    return f"{format_number(row['sensitivity'], digits=2)} ({row['n_found']} / {row['n_lesions']})"


def _bin_name(one: SizeBin) -> str:
    if one.low_ml == 0:
        return f"below {one.high_ml:g} ml"
    return f"from {one.low_ml:g} ml" if np.isinf(one.high_ml) else f"{one.low_ml:g} to {one.high_ml:g} ml"
