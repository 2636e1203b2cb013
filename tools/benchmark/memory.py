"""Peak memory of one part, measured in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from scripts.errors import InputError
from scripts.ops import Score, mahalanobis_map
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.paths import project_root
from tools.benchmark.maps import dense_map, make_cloud

__all__ = ["MEMORY_METHOD", "measure_memory", "measure_peak", "peak_memory"]

MEMORY_METHOD = (
    "Peak resident memory of a fresh process (Linux: VmHWM, reset before the part through /proc/self/clear_refs; "
    "elsewhere getrusage's ru_maxrss, which is then a lower bound), less its resident memory before the part, when "
    "libraries are loaded and warmed up and the input exists."
)
_PARTS = ("copy", "dense", *(score.value for score in Score))
_MIB = 2**20


def _return_free_heap() -> None:
    """Give what earlier work freed back to the system: taken from there, the call's memory would not be seen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def measure_peak(function: Callable[[], object]) -> dict[str, float]:
    """Call a function once and return how far this process's resident memory rose above where it stood, in MiB.

    Returns:
        `peak_mib` above the start, and `process_peak_mib`, the whole process at that moment.
    """
    gc.collect()  # or garbage of earlier work, collected during the call, would make room for what the call takes
    _return_free_heap()
    _reset_peak()
    before = _resident_bytes()
    function()
    after = _peak_bytes()
    return {"peak_mib": max(after - before, 0) / _MIB, "process_peak_mib": after / _MIB}


def peak_memory(part: str, result: PathText, *, num_samples: int = 10, num_slices: int = 50, size: int = 96) -> None:
    """Measure one part of the map benchmark and write the figures as JSON.

    Args:
        part: `copy` (of the reconstructions), `dense` (the paper's inverse, one slice), or the score of a low-rank map
            of all slices: reference, whitened, conditional, diagonal.
        result: file to write.
        num_samples: K.
        num_slices: slices of the volume.
        size: height and width in pixels.

    Raises:
        InputError: for an unknown part.
    """
    if part not in _PARTS:
        raise InputError(f"`part` must be one of {', '.join(_PARTS)}, got {part!r}")
    _run_part(part, *make_cloud(3, 2, 8))  # loads the linear algebra and starts its threads
    cloud = make_cloud(num_samples, 1 if part == "dense" else num_slices, size)
    figures = measure_peak(lambda: _run_part(part, *cloud))
    Path(result).write_text(json.dumps(figures), encoding="utf-8")


def measure_memory(module: str, *arguments: str) -> dict[str, float]:
    """Run a module of this package in a process of its own, with as many threads as here, and return its figures.

    Args:
        module: to be run with `python -m`; must take `--result FILE` and write JSON there.
        *arguments: of the command line.

    Raises:
        RuntimeError: if the process fails, with the end of what it said.
    """
    pools = {name: str(torch.get_num_threads()) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    python_path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "memory.json"
        command = [sys.executable, "-m", module, *arguments, "--result", str(result)]
        environment = {**os.environ, **pools, "PYTHONPATH": python_path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not result.is_file():
            raise RuntimeError(f"`{module}` ended with status {done.returncode}: {done.stderr[-2000:]}")
        figures: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
        return figures


def _run_part(part: str, image: torch.Tensor, reconstructions: torch.Tensor, brain_mask: torch.Tensor) -> torch.Tensor:
    if part == "copy":
        return reconstructions.clone()
    if part == "dense":
        return dense_map(image, reconstructions, brain_mask)
    return mahalanobis_map(image, reconstructions, brain_mask, score=part)


def _reset_peak() -> None:
    """Lower the kernel's high-water mark to the present size, where the kernel offers that."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5", encoding="ascii")


def _resident_bytes() -> int:
    return _status("VmRSS") or _peak_bytes()


def _peak_bytes() -> int:
    # On Linux ru_maxrss starts at the size of the process that started this one; VmHWM does not.
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int | None:
    """Return a figure of /proc/self/status in bytes, or None where there is no such file or line."""
    table = Path("/proc/self/status")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 if found else None


def main() -> None:
    """Run `peak_memory` from the command line."""
    run_command(peak_memory)


if __name__ == "__main__":
    main()
