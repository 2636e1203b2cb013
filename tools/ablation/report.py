"""The results of an ablation: a table as CSV, Markdown and JSON, and one figure an axis."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scripts.files import replacing
from scripts.metrics.resampling import bootstrap_interval, permutation_test
from scripts.report.tables import format_number, markdown_table, write_csv, write_json, write_text
from tools.ablation.cases import AblationCase
from tools.ablation.grid import Axis, Grid, value_text
from tools.ablation.rows import AblationRow

__all__ = ["draw_axes", "markdown_report", "table_rows", "write_report"]

_LOG_FROM = 30  # ratio of the largest value to the smallest at which the axis becomes logarithmic
_LEAST_DIFFERENCE = 0.005  # the panel of differences shows at least this much, so that rounding looks like nothing
_DPI = 100


def draw_axes(folder: Path, axes: Sequence[Axis], table: Sequence[Mapping[str, Any]], *, base: str) -> list[Path]:
    """Draw every axis into a PNG and return the files.

    The upper panel has the mean AUPRC over cases, the lower one its difference to the base, which tells more, as cases
    differ more from each other than settings do. Bars are 95 % bootstrap intervals; a star marks the base.

    Args:
        folder: where to write, made if missing.
        axes: what to draw.
        table: one mapping a row, as `table_rows` returns it.
        base: name of the base's row.
    """
    by_name = {row["setting"]: row for row in table}
    files = []
    for axis in axes:
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', axis.name)}.png"
        _draw(path, axis, by_name, base)
        files.append(path)
    return files


def _draw(path: Path, axis: Axis, rows: Mapping[str, Mapping[str, Any]], base: str) -> None:
    places, labels, joined, logarithmic = _places([value for line in axis.lines.values() for value, _ in line])
    figure = Figure(figsize=(7, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    width = _step(list(places.values()), logarithmic)
    for index, (label, line) in enumerate(axis.lines.items()):
        shift = (index - (len(axis.lines) - 1) / 2) * 0.08
        points = sorted((_shifted(places[value_text(value)], shift, width, logarithmic), name) for value, name in line)
        for panel, column in ((upper, "auprc"), (lower, "auprc_difference")):
            style = {"color": colours[index % len(colours)], "label": label, "linestyle": "-" if joined else "none"}
            _draw_line(panel, points, rows, column, base, style=style)
    lower.axhline(0, color="gray", linewidth=1, linestyle=":")
    low, high = lower.get_ylim()
    lower.set_ylim(min(low, -_LEAST_DIFFERENCE), max(high, _LEAST_DIFFERENCE))
    if logarithmic:
        lower.set_xscale("log")
    else:
        lower.set_xticks(list(places.values()), labels, rotation=30 if max(map(len, labels)) > 8 else 0)
    upper.set(ylabel="AUPRC, mean over cases", title=axis.name.replace("_", " ") if len(axis.lines) > 1 else axis.key)
    lower.set(ylabel="AUPRC, difference to base", xlabel=axis.key)
    for panel in (upper, lower):
        panel.grid(alpha=0.3)
    if len(axis.lines) > 1:
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def _draw_line(
    panel: Axes,
    points: Sequence[tuple[float, str]],
    rows: Mapping[str, Mapping[str, Any]],
    column: str,
    base: str,
    *,
    style: Mapping[str, Any],
) -> None:
    x = [place for place, _ in points]
    y = [_value(rows[name], column, name == base) for _, name in points]
    ends = [[_value(rows[name], f"{column}_{end}", name == base) for _, name in points] for end in ("low", "high")]
    below = [_distance(value, low) for value, low in zip(y, ends[0], strict=True)]
    above = [_distance(high, value) for value, high in zip(y, ends[1], strict=True)]
    panel.errorbar(x, y, yerr=[below, above], marker="o", markersize=4, capsize=3, **style)
    marked = [(place, value) for (place, name), value in zip(points, y, strict=True) if name == base]
    panel.plot([m[0] for m in marked], [m[1] for m in marked], "*", color="black", markersize=13, zorder=5)


def _value(row: Mapping[str, Any], column: str, is_base: bool) -> float:
    """Return a number of a row; the base's difference to itself is 0."""
    return 0.0 if is_base and column.startswith("auprc_difference") else float(row[column])


def _distance(high: float, low: float) -> float:
    """Return the length of a bar, none where an end does not exist."""
    return 0.0 if math.isnan(high - low) else max(high - low, 0.0)


def _places(values: Sequence[Any]) -> tuple[dict[str, float], list[str], bool, bool]:
    """Return where each value lies along x, the labels, whether points are joined, and whether x is logarithmic.

    Numbers lie where they are, in order; where any value is none, all lie side by side in the order given.
    """
    unique = {value_text(value): value for value in values}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in unique.values())
    if not numbers:
        return {text: float(place) for place, text in enumerate(unique)}, list(unique), False, False
    ordered = dict(sorted(unique.items(), key=lambda item: item[1]))
    low, high = min(ordered.values()), max(ordered.values())
    places = {text: float(value) for text, value in ordered.items()}
    return places, list(ordered), True, low > 0 and high / low >= _LOG_FROM


def _step(places: Sequence[float], logarithmic: bool) -> float:
    """Return the smallest distance of two places, in decades on a logarithmic axis."""
    ordered = sorted(math.log10(place) if logarithmic else place for place in places)
    return min((b - a for a, b in itertools.pairwise(ordered)), default=1.0)


def _shifted(place: float, shift: float, width: float, logarithmic: bool) -> float:
    """Move a point by a share of the step, so that the bars of several lines do not lie on each other."""
    return place * 10 ** (shift * width) if logarithmic else place + shift * width


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
