"""Timing, one row a measure, and the table that grows with each benchmark and that a later one is held to."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from scripts.report.tables import markdown_table, write_text
from scripts.results import bundle_version

__all__ = [
    "RATIO",
    "Measure",
    "Seconds",
    "append_measures",
    "describe_machine",
    "latest_ratios",
    "limit_threads",
    "measures_table",
    "seconds_of",
]

RATIO = "ratio"  # unit of what is a ratio within one run, and so holds on other machines too


class Seconds(NamedTuple):
    """Duration of one call.

    Attributes:
        wall: by the clock.
        cpu: spent by all threads of this process. With one thread, what the clock would show on an idle machine.
    """

    wall: float
    cpu: float


def seconds_of(function: Callable[[], object]) -> Seconds:
    """Call a function once and return how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


class Measure(NamedTuple):
    """What was measured, in which unit, and the value of each repeat."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The one value that stands for all."""
        return statistics.median(self.values)

    def row(self) -> dict[str, Any]:
        """Return the measure with its median, smallest and largest value and their number."""
        spread = {"smallest": min(self.values), "largest": max(self.values), "repeats": len(self.values)}
        return {"measure": self.name, "value": self.median, "unit": self.unit, **spread}


@contextmanager
def limit_threads(threads: int | None) -> Iterator[int]:
    """Let torch use `threads` threads inside the block (as it finds them if None), and give the number in use."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def describe_machine() -> dict[str, Any]:
    """Return what a timing depends on: processor, cores, threads, load of the last minute, versions."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": load if load is None else round(load, 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    """Return the processor's name from the kernel, which says more than `platform` on Linux."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def measures_table(measures: Sequence[Measure]) -> str:
    """Return the measures as Markdown."""
    rows = [measure.row() for measure in measures]
    numbers = ("value", "smallest", "largest")
    cells = [[f"{value:.4g}" if name in numbers else value for name, value in row.items()] for row in rows]
    return markdown_table(["measure", "median", "unit", "smallest", "largest", "repeats"], cells)


def append_measures(path: str | Path, measures: Sequence[Measure], machine: Mapping[str, Any]) -> None:
    """Add the medians to a CSV table, made if missing, with the date, the version and the machine."""
    file = Path(path)
    about = {"date": datetime.now(UTC).date().isoformat(), "version": bundle_version()}
    about |= {name: machine[name] for name in ("cpu", "cores", "threads", "load", "torch")}
    rows = [{**about, **measure.row(), "value": f"{measure.median:.4g}"} for measure in measures]
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    frame = pd.DataFrame(rows).drop(columns=["smallest", "largest"])
    write_text(file, before + frame.to_csv(index=False, header=not before, lineterminator="\n"))


def latest_ratios(path: str | Path) -> dict[str, float]:
    """Return the last value of each measure that is a ratio within one run, of the version that was measured last."""
    table = pd.read_csv(path, dtype={"version": str})
    latest = table[(table["unit"] == RATIO) & (table["version"] == table["version"].iloc[-1])]
    return dict(latest.groupby("measure")["value"].last())
