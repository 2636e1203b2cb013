"""How many lesions of each size are found, at every operating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.handlers.evaluated_case import EvaluatedCase
from scripts.handlers.run_scores import Region
from scripts.metrics.lesion_sizes import SizeBin, find_lesions, lesion_recall
from scripts.report.tables import DASH, format_number, markdown_table

__all__ = ["lesion_rows", "size_markdown", "size_rows"]

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


def size_markdown(
    table: Sequence[Mapping[str, Any]], bins: Sequence[SizeBin], *, map_name: str, points: Mapping[str, str | None]
) -> str:
    """Return the sensitivity by volume of one map as Markdown; empty without a lesion.

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
        return ""
    header = ["data set", "operating point", "lesions", *(_bin_name(one) for one in bins)]
    text = f"Lesions of which at least one voxel is found, by volume (`{map_name}`): share (found / all).\n"
    return f"{text}\n{markdown_table(header, lines)}"


def _share(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return DASH
    return f"{format_number(row['sensitivity'], digits=2)} ({row['n_found']} / {row['n_lesions']})"


def _bin_name(one: SizeBin) -> str:
    if one.low_ml == 0:
        return f"below {one.high_ml:g} ml"
    return f"from {one.low_ml:g} ml" if np.isinf(one.high_ml) else f"{one.low_ml:g} to {one.high_ml:g} ml"
