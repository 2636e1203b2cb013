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
from typing import Any

import torch

from scripts.errors import InputError
from scripts.ops import Score, mahalanobis_map
from scripts.options.command import run_command
from scripts.options.fields import PathText
from scripts.paths import project_root
from tools.benchmark.maps import dense_map, make_cloud

__all__ = ["MEMORY_METHOD", "measure_apart", "measure_peak", "peak_memory"]

MEMORY_METHOD = (
    "Peak resident memory of a fresh process (Linux: VmHWM, reset before the part through /proc/self/clear_refs; "
    "elsewhere getrusage's ru_maxrss, which is then a lower bound), less its resident memory before the part, when "
    "libraries are loaded and warmed up and the input exists."
)
_PARTS = ("copy", "dense", *(score.value for score in Score))


def measure_peak(function: Callable[[], object]) -> float:
    """Call a function once and return how far this process's resident memory rose above where it stood, MiB."""
    gc.collect()  # or garbage of earlier work, collected during the call, would make room for what the call takes
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)  # what earlier work freed goes back to the system: taken from there, the call's memory is not seen
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5", encoding="ascii")  # the peak starts at the present size
    before = _resident_bytes("VmRSS")
    function()
    return max(_resident_bytes("VmHWM") - before, 0) / 2**20


def peak_memory(part: str, result: PathText, *, num_samples: int = 10, num_slices: int = 50, size: int = 96) -> None:
    """Measure one part of the map benchmark and write the MiB as JSON.

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
    Path(result).write_text(json.dumps(measure_peak(lambda: _run_part(part, *cloud))), encoding="utf-8")


def measure_apart(module: str, *arguments: str) -> Any:
    """Run a module of this package in a process of its own, with as many threads as here, and return what it measured.

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
        return json.loads(result.read_text(encoding="utf-8"))


def _run_part(part: str, image: torch.Tensor, reconstructions: torch.Tensor, brain_mask: torch.Tensor) -> torch.Tensor:
    if part == "copy":
        return reconstructions.clone()
    if part == "dense":
        return dense_map(image, reconstructions, brain_mask)
    return mahalanobis_map(image, reconstructions, brain_mask, score=part)


def _resident_bytes(name: str) -> int:
    """Return `VmRSS`, the present size of this process, or `VmHWM`, its peak; elsewhere than on Linux always the peak.

    On Linux ru_maxrss starts at the size of the process that started this one; VmHWM does not.
    """
    table = Path("/proc/self/status")
    for line in table.read_text(encoding="utf-8").splitlines() if table.is_file() else []:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Run `peak_memory` from the command line."""
    run_command(peak_memory)


if __name__ == "__main__":
    main()
