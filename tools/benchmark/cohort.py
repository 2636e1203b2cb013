"""Scans an hour by the number of processes, from the command's start to its tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.paths import project_root
from tools.benchmark.measure import Measure

__all__ = ["benchmark_cohort"]


def benchmark_cohort(
    case: dict[str, str], *, num_scans: int, num_samples: int, num_workers: Sequence[int] = (1, 2)
) -> list[Measure]:
    """Analyse copies of a scan in fresh processes with one thread each, as `scripts.cli.analyze` does.

    Args:
        case: path of the `image`; its `brain_mask` is not used.
        num_scans: copies.
        num_samples: K.
        num_workers: numbers of processes to compare, 1 first.

    Returns:
        For each number scans an hour, start of the program and tables included, and that over the first number's.

    Raises:
        RuntimeError: if the command fails, with the end of what it said.
    """
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "scans"
        scans.mkdir()
        for number in range(num_scans):
            shutil.copy(case["image"], scans / f"scan{number}_t1.nii.gz")
        for workers in num_workers:
            seconds = _analyze(scans, Path(folder) / f"out{workers}", num_samples=num_samples, num_workers=workers)
            rate, name = 3600 * num_scans / seconds, f"many scans, {workers} process(es)"
            first = measures[0].median if measures else rate
            measures.append(Measure(name, "scans an hour", [rate]))
            measures.append(Measure(f"{name} over one", "times", [rate / first]))
    return measures


def _analyze(scans: Path, output_dir: Path, *, num_samples: int, num_workers: int) -> float:
    options = {"brain_extraction": "never", "alignment": "never", "quality_control": "false", "device": "cpu"}
    options |= {"num_samples": str(num_samples), "num_workers": str(num_workers)}
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "scripts.cli.analyze", str(scans), str(output_dir), *flags]
    python_path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"the analysis ended with status {done.returncode}: {done.stderr[-2000:]}")
    return seconds
