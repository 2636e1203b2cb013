"""Scans on the workers of a Dask cluster: a worker that dies loses nothing, and nothing is done twice."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError
from scripts.options.fields import checked
from scripts.options.workflows import InferenceOptions
from scripts.workflows.processes import run_on_cluster

from .conftest import FAST

CONFIG = "bundle/configs/inference.yaml"
COUNT = 6


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "distributed":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"`cluster` needs the package distributed, .* Install it with pip install distributed"):
        list(run_on_cluster(str, [1], address="tcp://127.0.0.1:1"))


def test_an_address_is_one() -> None:
    assert checked(InferenceOptions, "cluster", "tcp://node7:8786") == "tcp://node7:8786"
    with pytest.raises(InputError, match=r"`cluster` must be an address such as tcp://host:8786, or none, got 'node7'"):
        checked(InferenceOptions, "cluster", "node7")


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_nothing_is_done_twice(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    (tmp_path / "scans").mkdir()
    for number in range(COUNT):
        volume = np.asarray(phantom_volume((32, 32, 16), number, "t1")[0]).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, phantom_affine((32, 32, 16), 2.0)), tmp_path / "scans" / f"s{number}_t1.nii.gz")
    options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), "report": False, "picture": False, "num_samples": 40}
    monkeypatch.setenv("PYTHONPATH", str(root))
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,  # a command has no other client either
    ):
        pids = list(client.run(os.getpid).values())
        killer = _Killer(pids[0], lambda: _finished(tmp_path / "out"))
        killer.start()
        monai.bundle.run(
            config_file=str(root / CONFIG), input=str(tmp_path / "scans"), output_dir=str(tmp_path / "out"),
            cluster=cluster.scheduler_address, **options,
        )  # fmt: skip
        killer.join(1)
    assert killer.killed, "a worker died while scans were left"
    after = _finished(tmp_path / "out")
    assert len(after) == COUNT, "nothing is lost"
    assert {name: after[name] for name in killer.killed} == killer.killed, "nothing is done twice"
    table = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in table[1:]] == ["ok"] * COUNT


def _finished(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}


class _Killer(threading.Thread):
    """Kill a process as soon as some scans are finished, and keep which they were."""

    def __init__(self, pid: int, finished: Callable[[], dict[str, int]]) -> None:
        super().__init__(daemon=True)
        self.pid, self.finished = pid, finished
        self.killed: dict[str, int] = {}

    def run(self) -> None:
        deadline = time.monotonic() + 500
        while len(done := self.finished()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        if 2 <= len(done) < COUNT:
            os.kill(self.pid, signal.SIGKILL)
            self.killed = done
