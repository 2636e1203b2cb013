"""A calibration as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.report.tables import DASH, format_number, markdown_table

__all__ = ["calibration_markdown"]


def calibration_markdown(
    entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, modality: str, preset: str, command: str = ""
) -> str:
    """Return the operating points and the scan scores as readable Markdown.

    Args:
        entry: of the thresholds file.
        rows: one a scan: `dataset`, `role`, `anomaly_score`, `p_value` (of a healthy scan of the calibration:
            against the other data sets; empty where there are none).
        modality: t1 or t2.
        preset: name of the entry.
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
    return "\n".join(parts)


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
