"""A run in numbers: mean, spread and interval of every metric per data set and map, and the same as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scripts.evaluation.scores import RunScores, healthy_point
from scripts.metrics.resampling import bootstrap_interval
from scripts.metrics.score_counts import pooled_voxel_scores
from scripts.report.pages import Block, Table
from scripts.report.tables import DASH, format_mean, format_number

__all__ = ["mean_over_cases", "summarize", "summary_blocks"]

_NOT_METRICS = ("dataset", "case", "map")
_WITH_INTERVAL = ("auprc", "auroc", "oracle_dice")


def mean_over_cases(values: Sequence[float], *, num_bootstrap: int = 0) -> dict[str, float | int]:
    """Describe one metric over cases.

    Args:
        values: one per case; NaN (undefined for that case) is left out.
        num_bootstrap: rounds of a 95 % bootstrap interval of the mean; 0 for none.

    Returns:
        `mean`, `std` (with n - 1), `n` (cases in which the metric is defined), and `ci95_low`, `ci95_high` when asked
        for; NaN where there are too few cases.

    Examples:
        >>> described = mean_over_cases([0.5, 0.7, float("nan")])
        >>> round(described["mean"], 3), described["n"]
        (0.6, 2)
    """
    array = np.asarray(values, dtype=np.float64)
    known = array[~np.isnan(array)]
    result: dict[str, float | int] = {
        "mean": float(known.mean()) if known.size else math.nan,
        "std": float(known.std(ddof=1)) if known.size > 1 else math.nan,
        "n": int(known.size),
    }
    if num_bootstrap:
        interval = bootstrap_interval(known, num_rounds=num_bootstrap)
        result |= {"ci95_low": interval.low, "ci95_high": interval.high}
    return result


def summarize(
    rows: Sequence[Mapping[str, Any]],
    run: RunScores,
    points: Mapping[tuple[str, str], Mapping[str, float]],
    *,
    num_bootstrap: int,
) -> dict[str, Any]:
    """Summarise the rows of all cases.

    Args:
        rows: one per case and map.
        run: the pooled scores of the same cases.
        points: operating points by data set and map.
        num_bootstrap: rounds of the bootstrap intervals; 0 for none.

    Returns:
        {data set: {map: {`n_cases`, `n_with_lesion`, `pooled` (with lesions: auprc, auroc, best_dice, best_threshold,
        slice_auprc, slice_auroc), `thresholds`, `metrics` ({column: mean, std, n, …})}}}.
    """
    summary: dict[str, Any] = {}
    for (dataset, map_name), pooled in run.pooled.items():
        own = [row for row in rows if (row["dataset"], row["map"]) == (dataset, map_name)]
        entry: dict[str, Any] = {
            "n_cases": len(own),
            "n_with_lesion": sum(row["lesion_ml"] > 0 for row in own),
            "thresholds": points[dataset, map_name],
        }
        if pooled.has_lesion:
            counts = run.counts((dataset,), map_name)
            best, slices = run.best((dataset,), map_name), pooled.slice_areas()
            areas = pooled_voxel_scores(counts)
            entry["pooled"] = {
                "auprc": areas.auprc,
                "auroc": areas.auroc,
                "best_dice": best.dice,
                "best_threshold": best.threshold,
                "slice_auprc": slices.auprc,
                "slice_auroc": slices.auroc,
                "prevalence": counts.num_positives / counts.num_voxels,
            }
        entry["metrics"] = _metrics(own, num_bootstrap)
        summary.setdefault(dataset, {})[map_name] = entry
    return summary


def summary_blocks(summary: Mapping[str, Mapping[str, Any]], *, rates: Sequence[float], command: str) -> list[Block]:
    """Return the summary for readers: one table of lesion sets and one of healthy sets.

    Args:
        summary: as returned by `summarize`.
        rates: healthy false positive rates, for the columns of the healthy table.
        command: how the run was started; left out when empty.
    """
    lesion = _lesion_rows(summary)
    healthy = _healthy_rows(summary, rates)
    parts = [Block(command, command=True)] if command else []
    if lesion:
        header = ["data set", "map", "n", "AUPRC", "AUPRC 95 % CI", "AUPRC pooled", "AUROC pooled"]
        header += ["Dice, per-case oracle", "Dice at pooled best", "pooled best threshold", "Dice at validation best"]
        text = (
            "Mean ± standard deviation over the n cases with a lesion. The per-case oracle and the pooled best "
            "threshold are chosen with the labels of these very cases, the validation threshold is not."
        )
        parts += [Block(table=Table(header, lesion)), Block(text)]
    if healthy:
        header = ["healthy set", "map", "n", *(f"threshold at {100 * rate:g} % FPR" for rate in rates)]
        header += [f"false positive rate at validation {100 * rate:g} %" for rate in rates]
        header += ["false positive ml at validation best Dice", "false positive ml at pooled best Dice"]
        text = (
            "Thresholds of this run's own healthy scans; false positive rates (share of the brain) and volumes at "
            "those of the validation run, mean ± standard deviation over scans."
        )
        parts += [Block(table=Table(header, healthy)), Block(text)]
    return parts


def _metrics(rows: Sequence[Mapping[str, Any]], num_bootstrap: int) -> dict[str, Any]:
    """Describe every numeric column that is defined for at least one case."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in _NOT_METRICS))
    metrics = {}
    for column in columns:
        values = [row.get(column, math.nan) for row in rows]
        if column.startswith("threshold_at_") or not all(_is_number(value) for value in values):
            continue
        wanted = column in _WITH_INTERVAL or column.startswith("dice_at_")
        described = mean_over_cases(values, num_bootstrap=num_bootstrap if wanted else 0)
        if described["n"]:
            metrics[column] = described
    return metrics


def _lesion_rows(summary: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return the table of the data sets with lesions, best AUPRC first."""
    rows = []
    for dataset, maps in summary.items():
        entries = [(name, entry) for name, entry in maps.items() if "pooled" in entry]
        for name, entry in sorted(entries, key=lambda item: -item[1]["metrics"]["auprc"]["mean"]):
            metrics, pooled = entry["metrics"], entry["pooled"]
            rows.append(
                [
                    dataset,
                    name,
                    str(metrics["auprc"]["n"]),
                    _mean(metrics, "auprc"),
                    _interval(metrics["auprc"]),
                    format_number(pooled["auprc"]),
                    format_number(pooled["auroc"]),
                    _mean(metrics, "oracle_dice"),
                    _mean(metrics, "dice_at_pooled_best_dice"),
                    format_number(pooled["best_threshold"], digits=4),
                    _mean(metrics, "dice_at_validation_best_dice"),
                ]
            )
    return rows


def _healthy_rows(summary: Mapping[str, Mapping[str, Any]], rates: Sequence[float]) -> list[list[str]]:
    """Return the table of the healthy data sets."""
    return [
        [
            dataset,
            name,
            str(entry["n_cases"]),
            *(format_number(entry["thresholds"].get(healthy_point(rate)), digits=4) for rate in rates),
            *(_mean(entry["metrics"], f"false_positive_rate_at_validation_{healthy_point(rate)}") for rate in rates),
            _mean(entry["metrics"], "false_positive_ml_at_validation_best_dice", digits=1),
            _mean(entry["metrics"], "false_positive_ml_at_pooled_best_dice", digits=1),
        ]
        for dataset, maps in summary.items()
        for name, entry in maps.items()
        if "pooled" not in entry
    ]


def _mean(metrics: Mapping[str, Any], column: str, *, digits: int = 3) -> str:
    """Return the column's mean ± std, or a dash when it was not measured."""
    described = metrics.get(column)
    return DASH if described is None else format_mean(described["mean"], described["std"], digits=digits)


def _interval(described: Mapping[str, float]) -> str:
    """Return the interval as "low to high", or a dash."""
    if math.isnan(described.get("ci95_low", math.nan)):
        return DASH
    return f"{format_number(described['ci95_low'])} to {format_number(described['ci95_high'])}"


def _is_number(value: Any) -> bool:
    """Return whether a cell can be averaged."""
    return isinstance(value, int | float) and not isinstance(value, bool)
