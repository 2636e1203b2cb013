"""The table of an ablation, as CSV, Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scripts.metrics.resampling import bootstrap_interval, permutation_test
from scripts.report.tables import format_number, markdown_table, write_csv, write_json, write_text
from tools.ablation.cases import AblationCase
from tools.ablation.grid import Grid, value_text
from tools.ablation.rows import AblationRow

__all__ = ["markdown_report", "table_rows", "write_report"]

_HEADER = {
    "setting": "setting",
    "n": "n",
    "auprc": "AUPRC, mean over cases [95 %]",
    "auprc_difference": "difference to base [95 %, paired]",
    "pvalue": "p",
    "pooled_auprc": "pooled AUPRC",
    "best_dice": "best pooled Dice",
    "oracle_dice": "oracle Dice, mean",
    "healthy_ml": "healthy volume, ml",
    "healthy_ml_median": "median, ml",
    "map_seconds": "map, s",
}
_OVERALL = ("healthy_ml", "healthy_ml_median", "healthy_ml_max")
_SET = "healthy_ml_"  # and the name of the data set
_NOTE = """Intervals are percentile bootstraps over cases; p is a two-sided paired permutation test against the base,
not corrected for the number of rows. The healthy volume lies at or above the threshold of the best pooled
Dice. Seconds are those of the maps of one case, when the row was computed."""


def table_rows(
    grid: Grid, rows: Mapping[str, AblationRow], *, num_bootstrap: int, healthy: Sequence[AblationCase] = ()
) -> list[dict[str, Any]]:
    """Describe every row in numbers.

    Args:
        grid: the settings, base first.
        rows: their figures by name.
        num_bootstrap: rounds of the bootstrap intervals and of the permutation test (exact up to about 13 cases).
        healthy: the healthy cases, in the order of the figures.

    Returns:
        One mapping a setting: `setting`, `n` (cases with a lesion), means over cases, pooled figures, the difference in
        AUPRC to the base with its interval and two-sided p-value, `healthy_ml` (mean over the healthy scans of what
        lies at or above `threshold`), its median, maximum and mean by data set, the seconds of the maps of a case, and
        why there are no figures (`reason`). 95 % intervals are percentile bootstraps over cases; NaN where there is
        nothing to compute.
    """
    base = np.asarray(rows[grid.base.name].auprc)
    table = []
    for setting in grid.settings:
        row = rows[setting.name]
        own = np.asarray(row.auprc)
        auprc = bootstrap_interval(own, num_rounds=num_bootstrap)
        compared = _Comparison() if setting is grid.base else _compare(own, base, num_rounds=num_bootstrap)
        table.append(
            {
                "setting": setting.name,
                "n": int((~np.isnan(own)).sum()),
                "auprc": _mean(row.auprc),
                "auprc_low": auprc.low,
                "auprc_high": auprc.high,
                "auprc_difference": compared.difference,
                "auprc_difference_low": compared.low,
                "auprc_difference_high": compared.high,
                "pvalue": compared.pvalue,
                "pooled_auprc": row.pooled_auprc,
                "best_dice": row.best_dice,
                "threshold": row.threshold,
                "oracle_dice": _mean(row.oracle_dice),
                "n_healthy": len(row.healthy_ml),
                "healthy_ml": _mean(row.healthy_ml),
                "healthy_ml_median": float(np.median(row.healthy_ml)) if row.healthy_ml else math.nan,
                **_by_set(row.healthy_ml, healthy),
                "healthy_ml_max": max(row.healthy_ml, default=math.nan),
                "map_seconds": _mean(row.map_seconds),
                "reason": row.reason,
            }
        )
    return table


def _by_set(volumes: Sequence[float], healthy: Sequence[AblationCase]) -> dict[str, float]:
    """Return the mean volume in each healthy data set, where there are several."""
    names = list(dict.fromkeys(case.dataset for case in healthy))
    if len(names) < 2:
        return {}
    pairs = list(zip(healthy, volumes, strict=True))
    return {f"{_SET}{name}": _mean([volume for case, volume in pairs if case.dataset == name]) for name in names}


class _Comparison(NamedTuple):
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pvalue: float = math.nan


def _compare(own: NDArray[np.float64], base: NDArray[np.float64], *, num_rounds: int) -> _Comparison:
    """Compare two settings case by case; one case has a difference, but neither interval nor p-value."""
    differences = own - base
    if int((~np.isnan(differences)).sum()) < 2:
        return _Comparison(_mean(differences.tolist()))
    interval = bootstrap_interval(differences, num_rounds=num_rounds)
    test = permutation_test(own, base, num_rounds=num_rounds)
    return _Comparison(test.mean_difference, interval.low, interval.high, test.pvalue)


def markdown_report(grid: Grid, table: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Return the table as Markdown, with the base's settings and the command."""
    best = max(table, key=lambda row: -1.0 if math.isnan(row["auprc"]) else row["auprc"])
    by_set = [name for name in table[0] if name.startswith(_SET) and name not in _OVERALL]
    sets = {name: f"{name.removeprefix(_SET)}, ml" for name in by_set}
    header = {**_HEADER, **sets}
    shown = [name for name in header if name not in _OVERALL or any(row["n_healthy"] for row in table)]
    cells = [[_cell(name, row, bold=row is best) for name in shown] for row in table]
    base = ", ".join(f"{key} {value_text(value)}" for key, value in grid.base.values.items() if value not in (None, {}))
    lesions = f"{', '.join(about['datasets'])} ({len(about['cases'])} cases)"
    scans = f"; healthy: {', '.join(about['healthy'])} ({len(about['healthy_cases'])} scans)"
    healthy = scans if about["healthy"] else ""
    return "\n".join(
        [
            f"# Ablation {about['grid']}",
            "",
            f"{lesions}{healthy}; split {about['split']}, {about['modality']}. Base: {base}.",
            "",
            f"Highest mean AUPRC: {best['setting']} ({format_number(best['auprc'])}).",
            "",
            markdown_table([header[name] for name in shown], cells),
            *(f"{row['setting']} was not computed: {row['reason']}.\n" for row in table if row["reason"]),
            _NOTE,
            "",
            f"    {about['command']}",
            "",
        ]
    )


def write_report(
    folder: Path,
    grid: Grid,
    rows: Mapping[str, AblationRow],
    table: Sequence[Mapping[str, Any]],
    *,
    cases: Sequence[AblationCase],
    healthy: Sequence[AblationCase],
    about: Mapping[str, Any],
) -> str:
    """Write ablation.csv, ablation.md, ablation.json and cases.csv, and return the Markdown.

    Args:
        folder: where to write, made if missing.
        grid: the settings.
        rows: their figures.
        table: as `table_rows` returns it.
        cases: the lesion cases, in the order of the figures.
        healthy: the healthy cases.
        about: `command`, `grid`, `datasets`, `healthy`, `split`, `modality` and whatever else describes the run.
    """
    about = {**about, "cases": [_name(case) for case in cases], "healthy_cases": [_name(case) for case in healthy]}
    names = [setting.name for setting in grid.settings]
    by_case = [line for name in names for line in _case_lines(name, rows[name], cases, healthy)]
    parameters = {setting.name: _shown(setting.values) for setting in grid.settings}
    full = [{**line, "parameters": parameters[line["setting"]]} for line in table]
    flat = [
        {**line, **{key: value_text(value) for key, value in parameters[line["setting"]].items()}} for line in table
    ]
    text = markdown_report(grid, table, about)
    write_csv(folder / "ablation.csv", flat)
    write_csv(folder / "cases.csv", by_case)
    write_json(folder / "ablation.json", {**about, "base": grid.base.name, "rows": full})
    write_text(folder / "ablation.md", text)
    return text


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings for a report, which shows no path of the machine."""
    return {key: value_text(value) if isinstance(value, str) else value for key, value in values.items()}


def _name(case: AblationCase) -> str:
    return f"{case.dataset}/{case.case}"


def _case_lines(
    setting: str, row: AblationRow, cases: Sequence[AblationCase], healthy: Sequence[AblationCase]
) -> list[dict[str, Any]]:
    lesion = zip(cases, row.auprc, row.oracle_dice, row.map_seconds, strict=True)
    lines: list[dict[str, Any]] = [
        {"setting": setting, "case": _name(case), "auprc": auprc, "oracle_dice": dice, "map_seconds": seconds}
        for case, auprc, dice, seconds in lesion
    ]
    volumes = zip(healthy, row.healthy_ml, strict=True)
    return lines + [{"setting": setting, "case": _name(case), "healthy_ml": volume} for case, volume in volumes]


def _mean(values: Sequence[float]) -> float:
    """Return the mean without NaN, NaN of nothing."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _cell(name: str, row: Mapping[str, Any], *, bold: bool) -> str:
    """Return a cell of the Markdown table."""
    value = row[name]
    if isinstance(value, str):
        return f"**{value}**" if bold else value
    if name == "n":
        return str(value)
    digits = 1 if name.startswith("healthy_ml") else {"map_seconds": 2}.get(name, 3)
    text = _number(value, digits=digits)
    if f"{name}_low" not in row or math.isnan(row[f"{name}_low"]):
        return text
    return f"{text} [{_number(row[f'{name}_low'])}, {_number(row[f'{name}_high'])}]"


def _number(value: float, *, digits: int = 3) -> str:
    """Return a number, or a dash for NaN; never -0.000."""
    return format_number(value if math.isnan(value) else round(value, digits) + 0.0, digits=digits)
