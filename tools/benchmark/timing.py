"""Wall-clock timings with their spread, and what they were taken on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = ["Seconds", "describe_machine", "limit_threads", "seconds_of", "summarize"]


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


def summarize(values: Sequence[float]) -> dict[str, float | int]:
    """Return median, minimum and maximum of repeated measurements, and how many there were.

    Raises:
        ValueError: if there is none.
    """
    if not values:
        raise ValueError("`values` must hold at least one measurement, got none")
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "repeats": len(values)}


@contextmanager
def limit_threads(threads: int | None) -> Iterator[int]:
    """Let torch use `threads` threads inside the block (as it finds them if None), and give the number in use."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def describe_machine() -> dict[str, object]:
    """Return what a timing depends on: processor, cores, load of the last minute, threads, versions."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load_average_1min": load,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "blas": "MKL" if torch.backends.mkl.is_available() else "not MKL",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    """Return the processor's name from the kernel, which tells more than `platform` on Linux."""
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
