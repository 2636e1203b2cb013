"""One line a measure in a table that grows with each benchmark, and the ratios that a later one is held to."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.files import replacing
from scripts.results import bundle_version

__all__ = ["COLUMNS", "append_measures", "latest_ratios", "measures"]

COLUMNS = ("date", "version", "cpu", "cores", "threads", "load", "torch", "measure", "value", "unit", "repeats")
RATIO = "ratio"


def measures(results: Mapping[str, Any]) -> list[tuple[str, float, str, int]]:
    """Return name, value, unit and repeats of each measure of `benchmark.json`; medians, and ratios within one run."""
    found: list[tuple[str, float, str, int]] = []
    for row in results["low_rank"]:
        name = f"map {row['score']} {row['extent']}"
        found.append((f"{name}, CPU time over a copy's", *_median(row["cpu_times_copy"], RATIO)))
        found.append((name, *_median(row["cpu_seconds"], "CPU s")))
    for name, one in results["memory"].items():
        found.append((f"peak memory, {name}", one["peak_mib"], "MiB", 1))
    if "dense" in results:
        dense = results["dense"]
        found.append(("dense inverse over low-rank map, same slices", dense["speedup_same_slices"], "times", 1))
    if "network" in results:
        network = results["network"]
        found.append((f"network, a slice, {network['dtype']}", *_median(network["slice_seconds"], "s")))
        repeats = network["slice_seconds"]["repeats"]
        found.append(("network, its FLOP/s over a matrix product's", network["share_of_product"], "share", repeats))
    for part, summary in results.get("end_to_end", {}).get("seconds", {}).items():
        found.append((f"one scan, {part.replace('_', ' ')}", *_median(summary, "s")))
    for row in results.get("cohort", []):
        name = f"{row['num_workers']:g} process(es)"
        found.append((f"many scans, {name}", row["scans_an_hour"], "scans an hour", 1))
        found.append((f"many scans, {name} over one", row["growth"], "times", 1))
    return found


def _median(summary: Mapping[str, Any], unit: str) -> tuple[float, str, int]:
    return float(summary["median"]), unit, int(summary["repeats"])


def append_measures(path: str | Path, results: Mapping[str, Any]) -> int:
    """Add the measures of a benchmark to a CSV table, made if missing; return how many there were."""
    file, machine = Path(path), results["machine"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not file.is_file():
        writer.writerow(COLUMNS)
    load = machine["load_average_1min"]
    about = (
        datetime.now(UTC).date().isoformat(), bundle_version(), machine["cpu"], machine["cores"], machine["threads"],
        "" if load is None else round(load, 1), machine["torch"],
    )  # fmt: skip
    rows = measures(results)
    writer.writerows((*about, name, f"{value:.4g}", unit, repeats) for name, value, unit, repeats in rows)
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    with replacing(file) as temporary:
        temporary.write_text(before + text.getvalue(), encoding="utf-8")
    return len(rows)


def latest_ratios(path: str | Path) -> dict[str, float]:
    """Return the last value of each measure that is a ratio within one run, and so holds on other machines too."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row["measure"]: float(row["value"]) for row in csv.DictReader(file) if row["unit"] == RATIO}
