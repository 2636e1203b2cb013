"""Compare two evaluations case by case: `python -m tools.compare_runs RUN_A RUN_B --output_dir DIR`."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scripts.errors import InputError
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.report.tables import format_number, markdown_table, write_csv, write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_runs", "main"]

logger = logging.getLogger(__name__)
_INDEX = ["map", "dataset", "case"]
_NOT_METRICS = ["age", "sex", "group", "seconds", "brain_ml", "lesion_ml"]
_FAMILIES = ("auprc", "auroc", "oracle_dice", "slice_auprc", "slice_auroc", "l1_error_", "l2_error_")
_AT_BEST_DICE = re.compile("(dice|lesion_f1|false_positive_ml)_at_.*_best_dice")  # the main metrics
_NAMED = 5


def compare_runs(
    run_a: PathText,
    run_b: PathText,
    *,
    output_dir: PathText = "comparison",
    map_a: str | None = None,
    map_b: str | None = None,
    metrics: Sequence[str] | str | None = None,
    num_rounds: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000,
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0,
) -> None:
    """Test whether two runs differ, for every metric, map and data set, paired by case.

    Writes comparison.csv and comparison.md. The p-value is that of a two-sided paired permutation test of the mean
    difference (exact where there are few cases), the interval a 95 % percentile bootstrap of the mean difference over
    cases. The p-values are not corrected for their number.

    Args:
        run_a: folder of an evaluation or experiment (of which `test` is taken), or a cases.csv.
        run_b: the other one; it may be the same, to compare two maps.
        output_dir: where to write.
        map_a: compare this one map of the first run; by default every map that both runs have.
        map_b: with this one of the second run; the same by default.
        metrics: columns of cases.csv; by default the areas, the errors of the reconstruction, and Dice, lesion-wise F1
            and false positive volume at the thresholds of the best Dice.
        num_rounds: permutations, and bootstrap rounds.
        seed: of both.

    Raises:
        InputError: if the cases of the runs do not match, or a file, map or metric is missing.
    """
    first, second = _read(run_a), _read(run_b)
    rows = []
    for name_a, name_b in _map_pairs(first, second, map_a, map_b):
        a, b = (run.loc[name].dropna(axis="columns", how="all") for run, name in ((first, name_a), (second, name_b)))
        _check_cases(a.index, b.index, run_a, run_b)
        columns = _columns(a, b, metrics)
        for dataset in a.index.unique("dataset"):
            for metric in columns:
                row = _compare(a.loc[dataset, metric], b.loc[dataset, metric], num_rounds=num_rounds, seed=seed)
                if row["n"]:
                    rows.append({"dataset": dataset, "map_a": name_a, "map_b": name_b, "metric": metric, **row})
    if not rows:
        raise InputError("the runs have no metric in common", path=run_b)
    text = _markdown(rows, num_rounds)
    write_csv(Path(output_dir) / "comparison.csv", rows)
    write_text(Path(output_dir) / "comparison.md", text)
    logger.info("%s", text)


def _read(run: str) -> pd.DataFrame:
    """Read the cases.csv of a run: numbers by map, data set and case, NaN where a cell is empty or a text."""
    import pandas as pd

    path = Path(run)
    places = [path] if path.suffix == ".csv" else [path / "cases.csv", path / "test" / "cases.csv"]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise InputError("no cases.csv is there", path=path, fix="Give the output folder of an evaluation.")
    try:
        table = pd.read_csv(source, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"not a table ({error})", path=source, fix="Give the output of an evaluation.") from error
    if not set(_INDEX) <= set(table):
        raise InputError("the columns dataset, case and map must be there", path=source)
    numbers = table.set_index(_INDEX).drop(columns=_NOT_METRICS, errors="ignore")
    return numbers.apply(pd.to_numeric, errors="coerce").groupby(level=_INDEX, sort=False).last()


def _map_pairs(
    first: pd.DataFrame, second: pd.DataFrame, map_a: str | None, map_b: str | None
) -> list[tuple[str, str]]:
    """Return the maps to compare with each other."""
    known = [list(run.index.unique("map")) for run in (first, second)]
    if map_a is None and map_b is None:
        both = [(name, name) for name in known[0] if name in known[1]]
        if not both:
            raise InputError(f"the runs have no map in common: {sorted(known[0])} and {sorted(known[1])}")
        return both
    pair = (map_a or str(map_b), map_b or str(map_a))
    for name, option, names in zip(pair, ("map_a", "map_b"), known, strict=True):
        if name not in names:
            raise InputError(f"`{option}` must be one of {', '.join(names)}, got {name!r}")
    return [pair]


def _check_cases(first: pd.Index, second: pd.Index, run_a: str, run_b: str) -> None:
    """Refuse runs over different cases."""
    parts = []
    for run, missing in ((run_a, first.difference(second)), (run_b, second.difference(first))):
        names = ["/".join(case) for case in missing]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts += [f"only in {run}: {', '.join(names[:_NAMED])}{more}"] if names else []
    if parts:
        what = f"the cases do not match; {'; '.join(parts)}"
        raise InputError(what, fix="Evaluate both on the same data sets and split.")


def _columns(first: pd.DataFrame, second: pd.DataFrame, metrics: Sequence[str] | str | None) -> list[str]:
    """Return the metrics to compare."""
    both = [name for name in first if name in second]
    if metrics is None:
        return [name for name in both if name.startswith(_FAMILIES) or _AT_BEST_DICE.fullmatch(name)]
    asked = [metrics] if isinstance(metrics, str) else list(metrics)
    missing = [name for name in asked if name not in both]
    if missing:
        raise InputError(f"`metrics` must be columns of both runs ({', '.join(both)}), got {', '.join(missing)}")
    return asked


def _compare(a: pd.Series, b: pd.Series, *, num_rounds: int, seed: int) -> dict[str, Any]:
    """Compare one metric over the cases in which both runs have it."""
    from scripts.metrics.resampling import bootstrap_interval, permutation_test

    b = b.reindex(a.index)
    known = a.notna() & b.notna()
    if not known.any():
        return {"n": 0}
    interval = bootstrap_interval(a[known] - b[known], num_rounds=num_rounds, seed=seed)
    test = permutation_test(a, b, num_rounds=num_rounds, seed=seed)
    return {
        "n": int(known.sum()),
        "mean_a": a[known].mean(),
        "mean_b": b[known].mean(),
        "difference": test.mean_difference,
        "ci95_low": interval.low,
        "ci95_high": interval.high,
        "pvalue": test.pvalue,
    }


def _markdown(rows: Sequence[Mapping[str, Any]], num_rounds: int) -> str:
    header = ["data set", "map", "metric", "n", "A", "B", "A − B", "95 % interval", "p"]
    lines = []
    for row in rows:
        name = row["map_a"] if row["map_a"] == row["map_b"] else f"{row['map_a']} / {row['map_b']}"
        numbers = [format_number(row[key], digits=4) for key in ("mean_a", "mean_b", "difference")]
        ends = [format_number(row[key], digits=4) for key in ("ci95_low", "ci95_high")]
        interval = " to ".join(ends) if not math.isnan(row["ci95_low"]) else ends[0]
        lines.append([row["dataset"], name, row["metric"], row["n"], *numbers, interval, format_number(row["pvalue"])])
    note = (
        f"Means over the n cases that have the metric in both runs. p: two-sided paired permutation test, {num_rounds} "
        "rounds, exact where there are fewer patterns; not corrected for the number of rows. Interval: bootstrap of "
        "the mean difference over cases.\n"
    )
    return f"# Comparison of A and B\n\n{markdown_table(header, lines)}\n{note}"


def main() -> None:
    """Run `compare_runs` from the command line."""
    run_command(compare_runs)


if __name__ == "__main__":
    main()
