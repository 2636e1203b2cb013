"""The results of an ablation: a table as CSV, Markdown and JSON, and one figure an axis."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from scripts.files import replacing
from scripts.metrics.resampling import bootstrap_interval, permutation_test
from scripts.report.tables import format_number, markdown_table, write_csv, write_json, write_text
from tools.ablation.cases import AblationCase
from tools.ablation.grid import Axis, Grid, all_numbers, value_text
from tools.ablation.rows import AblationRow

__all__ = ["draw_axes", "markdown_report", "table_rows", "write_report"]

_LEAST_DIFFERENCE = 0.005  # the panel of differences shows at least this much, so that rounding looks like nothing
_DPI = 100


def draw_axes(folder: Path, axes: Sequence[Axis], table: Sequence[Mapping[str, Any]], *, base: str) -> list[Path]:
    """Draw every axis into a PNG and return the files.

    The upper panel has the mean AUPRC over cases, the lower one its difference to the base, which says more, as cases
    differ more from each other than settings do. Bars are 95 % bootstrap intervals; a star marks the base.

    Args:
        folder: where to write, made if missing.
        axes: what to draw.
        table: one mapping a row, as `table_rows` returns it.
        base: name of the base's row.
    """
    rows = pd.DataFrame(table).set_index("setting")
    rows.loc[base, "auprc_difference"] = 0.0  # to itself
    files = []
    for axis in axes:
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', axis.name)}.png"
        _draw(path, axis, rows, base)
        files.append(path)
    return files


def _draw(path: Path, axis: Axis, rows: pd.DataFrame, base: str) -> None:
    values = {value_text(value): value for line in axis.lines.values() for value, _ in line}
    numbers = all_numbers(list(values.values()))  # numbers come in order, other values as they are given
    labels = sorted(values, key=lambda text: values[text]) if numbers else list(values)
    figure = Figure(figsize=(7, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for index, (label, line) in enumerate(axis.lines.items()):
        shift = (index - (len(axis.lines) - 1) / 2) * 0.08  # so that the bars of several lines do not lie on each other
        points = sorted((labels.index(value_text(value)) + shift, name) for value, name in line)
        own = rows.loc[[name for _, name in points]].assign(x=[place for place, _ in points])
        for panel, column in ((upper, "auprc"), (lower, "auprc_difference")):
            low, high = (own[column] - own[f"{column}_low"], own[f"{column}_high"] - own[column])
            bars = [end.fillna(0).clip(lower=0) for end in (low, high)]  # none where an end does not exist
            style: dict[str, Any] = {"label": label, "color": f"C{index % 10}", "linestyle": "-" if numbers else "none"}
            panel.errorbar(own["x"], own[column], yerr=bars, marker="o", markersize=4, capsize=3, **style)
            marked = own[own.index == base]
            panel.plot(marked["x"], marked[column], "*", color="black", markersize=13, zorder=5)
    lower.axhline(0, color="gray", linewidth=1, linestyle=":")
    bottom, top = lower.get_ylim()
    lower.set_ylim(min(bottom, -_LEAST_DIFFERENCE), max(top, _LEAST_DIFFERENCE))
    lower.set_xticks(range(len(labels)), labels, rotation=30 if max(map(len, labels)) > 8 else 0)
    upper.set(ylabel="AUPRC, mean over cases", title=axis.name.replace("_", " ") if len(axis.lines) > 1 else axis.key)
    lower.set(ylabel="AUPRC, difference to base", xlabel=axis.key)
    for panel in (upper, lower):
        panel.grid(alpha=0.3)
    if len(axis.lines) > 1:
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


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
    base = pd.Series(rows[grid.base.name].auprc, dtype=float)
    table = []
    for setting in grid.settings:
        row = rows[setting.name]
        own, volumes = pd.Series(row.auprc, dtype=float), pd.Series(row.healthy_ml, dtype=float)
        auprc = bootstrap_interval(own, num_rounds=num_bootstrap)
        compared = dict.fromkeys(("", "_low", "_high"), math.nan) | {"pvalue": math.nan}
        if setting is not grid.base:
            test = permutation_test(own, base, num_rounds=num_bootstrap)
            interval = bootstrap_interval(own - base, num_rounds=num_bootstrap)
            compared = {"": test.mean_difference, "_low": interval.low, "_high": interval.high, "pvalue": test.pvalue}
        table.append(
            {
                "setting": setting.name,
                "n": int(own.count()),
                "auprc": own.mean(),
                "auprc_low": auprc.low,
                "auprc_high": auprc.high,
                **{f"auprc_difference{end}": compared[end] for end in ("", "_low", "_high")},
                "pvalue": compared["pvalue"],
                "pooled_auprc": row.pooled_auprc,
                "best_dice": row.best_dice,
                "threshold": row.threshold,
                "oracle_dice": pd.Series(row.oracle_dice, dtype=float).mean(),
                "n_healthy": len(volumes),
                "healthy_ml": volumes.mean(),
                "healthy_ml_median": volumes.median(),
                **_by_set(volumes, [case.dataset for case in healthy]),
                "healthy_ml_max": volumes.max(),
                "map_seconds": pd.Series(row.map_seconds, dtype=float).mean(),
                "reason": row.reason,
            }
        )
    return table


def _by_set(volumes: pd.Series, datasets: Sequence[str]) -> dict[str, float]:
    """Return the mean volume in each healthy data set, where there are several."""
    means = volumes.groupby(datasets, sort=False).mean() if len(set(datasets)) > 1 else {}
    return {f"{_SET}{name}": mean for name, mean in means.items()}


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
            *(f"{row['setting']} was not computed: {row['reason'].rstrip('.')}.\n" for row in table if row["reason"]),
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
    about = {**about, "cases": [case.name for case in cases], "healthy_cases": [case.name for case in healthy]}
    lines = {setting.name: setting.values.items() for setting in grid.settings}
    # a report shows no path of the machine
    shown = {name: {k: value_text(v) if isinstance(v, str) else v for k, v in items} for name, items in lines.items()}
    flat = [{**line, **{key: value_text(value) for key, value in shown[line["setting"]].items()}} for line in table]
    text = markdown_report(grid, table, about)
    write_csv(folder / "ablation.csv", flat)
    write_csv(folder / "cases.csv", [line for name in lines for line in _case_lines(name, rows[name], cases, healthy)])
    full = [{**line, "parameters": shown[line["setting"]]} for line in table]
    write_json(folder / "ablation.json", {**about, "base": grid.base.name, "rows": full})
    write_text(folder / "ablation.md", text)
    return text


def _case_lines(
    setting: str, row: AblationRow, cases: Sequence[AblationCase], healthy: Sequence[AblationCase]
) -> list[dict[str, Any]]:
    lesion = zip(cases, row.auprc, row.oracle_dice, row.map_seconds, strict=True)
    lines: list[dict[str, Any]] = [
        {"setting": setting, "case": case.name, "auprc": auprc, "oracle_dice": dice, "map_seconds": seconds}
        for case, auprc, dice, seconds in lesion
    ]
    volumes = zip(healthy, row.healthy_ml, strict=True)
    return lines + [{"setting": setting, "case": case.name, "healthy_ml": volume} for case, volume in volumes]


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
