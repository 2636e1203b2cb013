"""A calibration as Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.report.tables import DASH, format_number, markdown_table

__all__ = ["calibration_markdown"]

_AGES = (0, 40, 60, 200)  # years, edges of the groups


def calibration_markdown(
    entry: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    modality: str,
    preset: str,
    left_out: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> str:
    """Return the operating points and the scan scores as readable Markdown.

    Args:
        entry: of the thresholds file.
        rows: one a scan: `dataset`, `role`, `anomaly_score`, `p_value` (of a healthy scan of the calibration:
            against the other data sets; empty where there are none).
        modality: t1 or t2.
        preset: name of the entry.
        left_out: of each healthy data set, what the threshold chosen on the others marks (see `CalibrationHandler`).
        command: how the run was started; left out when empty.
    """
    parts = [f"# Calibration of {modality}, preset {preset}\n"]
    if command:
        parts.append(f"`{command}`\n")
    header = ["operating point", "threshold", "chosen on", "pooled Dice on lesion scans"]
    header += ["ml marked in held-out healthy scans: mean", "median", "95 %", "highest", "n"]
    lines = []
    for name, point in entry["points"].items():
        marked = point.get("false_positive_ml", {})
        shown = f"{name} (default)" if name == entry["default"] else name
        dice, threshold = format_number(point.get("lesion_dice")), format_number(point["threshold"], digits=4)
        volumes = [format_number(marked.get(key), digits=1) for key in ("mean", "median", "p95", "max")]
        lines.append([shown, threshold, point["source"], dice, *volumes, str(marked.get("n", DASH))])
    parts.append(markdown_table(header, lines))
    if entry.get("healthy_scores"):
        count = len(entry["healthy_scores"])
        lowest = f"The lowest p-value that {count} healthy scans allow is {1 / (count + 1):.3f}."
        parts.append(f"Score of a scan: {entry['healthy_source']}. {lowest}\n")
    header = ["data set", "role", "n", "score, mean", "lowest", "highest", "p <= 0.1", "p <= 0.2"]
    parts.append(markdown_table(header, _scores(rows)))
    if left_out:
        parts.append("Each healthy data set left out: threshold and p-values from the others.\n")
        header = ["data set", "n", "threshold", "ml marked: mean", "median", "95 %", "highest", "p <= 0.1"]
        parts.append(markdown_table(header, [_left_out(row) for row in left_out]))
    if by_age := _ages(entry, rows):
        parts.append("Healthy scans by age, ml marked at the default point.\n")
        header = ["age", "role", "n", "median", "95 %", "highest", "p <= 0.1"]
        parts.append(markdown_table(header, by_age))
    return "\n".join(parts)


def _left_out(row: Mapping[str, Any]) -> list[str]:
    volumes = [format_number(row[key], digits=1) for key in ("mean", "median", "p95", "max")]
    return [row["dataset"], str(row["n"]), format_number(row["threshold"], digits=4), *volumes, str(row["low_p"])]


def _ages(entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    column = f"ml_at_{entry['default']}"
    lines = []
    for role in ("healthy", "held_out"):
        for low, high in itertools.pairwise(_AGES):
            own = [row for row in rows if row["role"] == role and row.get("age") not in ("", None)]
            own = [row for row in own if low <= row["age"] < high]
            if own:
                volumes = [row[column] for row in own]
                shown = [np.median(volumes), np.quantile(volumes, 0.95), max(volumes)]
                low_p = sum(row["p_value"] != "" and row["p_value"] <= 0.1 for row in own)
                name = f"{low} to {high - 1}" if high < _AGES[-1] else f"from {low}"
                cells = [format_number(float(value), digits=1) for value in shown]
                lines.append([name, role.replace("_", " "), str(len(own)), *cells, str(low_p)])
    return lines


def _scores(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    lines = []
    for dataset, role in dict.fromkeys((row["dataset"], row["role"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["role"]) == (dataset, role)]
        scores = [row["anomaly_score"] for row in own]
        p_values = [row["p_value"] for row in own if row["p_value"] != ""]
        low = [f"{sum(p <= level for p in p_values)} of {len(p_values)}" if p_values else DASH for level in (0.1, 0.2)]
        shown = [format_number(float(value), digits=4) for value in (np.mean(scores), min(scores), max(scores))]
        lines.append([dataset, role, str(len(own)), *shown, *low])
    return lines
