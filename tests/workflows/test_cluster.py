"""Scans on the workers of a Dask cluster: a worker that dies loses nothing, and nothing is done twice."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError
from scripts.options.fields import Options, checked
from scripts.options.workflows import InferenceOptions, PreprocessOptions
from scripts.workflows.processes import run_on_cluster

from .conftest import FAST
from .test_preprocess import FAST as FAST_PREPROCESS

CONFIG, PREPROCESS = "bundle/configs/inference.yaml", "bundle/configs/preprocess.yaml"
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


@pytest.mark.parametrize("options", [InferenceOptions, PreprocessOptions])
def test_an_address_is_one(options: type[Options]) -> None:
    assert checked(options, "cluster", "tcp://node7:8786") == "tcp://node7:8786"
    with pytest.raises(InputError, match=r"`cluster` must be an address such as tcp://host:8786, or none, got 'node7'"):
        checked(options, "cluster", "node7")


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_nothing_is_done_twice(
    root: Path, trained: tuple[Path, subprocess.CompletedProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), "report": False, "picture": False, "num_samples": 40}
    monkeypatch.setenv("PYTHONPATH", str(root))
    with _cluster() as (address, pid):
        killer = _Killer(pid, lambda: _finished(tmp_path / "out"))
        killer.start()
        monai.bundle.run(
            config_file=str(root / CONFIG), input=_scans(tmp_path / "scans"), output_dir=str(tmp_path / "out"),
            cluster=address, **options,
        )  # fmt: skip
        killer.check()
    table = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in table[1:]] == ["ok"] * COUNT


def test_cases_of_a_worker_that_is_killed_are_preprocessed_by_the_other(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Train" / "Mine"
    monkeypatch.setenv("PYTHONPATH", str(root))
    with _cluster() as (address, pid):
        options = {"input": _scans(tmp_path / "raw"), "dataset": "Mine", "dataset_dir": str(tmp_path), "cluster": address}
        killer = _Killer(pid, lambda: _preprocessed(folder))
        killer.start()
        monai.bundle.run(config_file=str(root / PREPROCESS), **FAST_PREPROCESS, **options)
        killer.check()
        before, lost = _preprocessed(folder), folder / "t1" / "s3_t1.nii.gz"
        lost.unlink()
        shutil.copy(folder / "quality" / "s1.json", folder / "quality" / ".tmp-1-2.json")  # as a killed process leaves it
        monai.bundle.run(config_file=str(root / PREPROCESS), **FAST_PREPROCESS, **options)
    after = _preprocessed(folder)
    assert lost.is_file(), "the same command brings what is missing"
    assert [name for name in after if after[name] != before[name]] == ["s3"], "and leaves the others alone"
    table = (folder / "quality" / "preprocessing.csv").read_text().splitlines()
    assert len(table) == COUNT + 1
    assert all(",ok," in line for line in table[1:])


def _scans(folder: Path) -> str:
    folder.mkdir()
    for number in range(COUNT):
        volume = np.asarray(phantom_volume((32, 32, 16), number, "t1")[0]).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, phantom_affine((32, 32, 16), 2.0)), folder / f"s{number}_t1.nii.gz")
    return str(folder)


@contextmanager
def _cluster() -> Iterator[tuple[str, int]]:
    """Give the address of a scheduler with two workers, and the process of one of them."""
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,  # a command has no other client either
    ):
        yield cluster.scheduler_address, next(iter(client.run(os.getpid).values()))


def _finished(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}


def _preprocessed(folder: Path) -> dict[str, int]:
    records = {path: json.loads(path.read_text()) for path in sorted(folder.glob("quality/[!.]*.json"))}
    return {path.stem: path.stat().st_mtime_ns for path, record in records.items() if record["scans"]}


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

    def check(self) -> None:
        """Check that no item was lost, and none done twice."""
        self.join(1)
        assert self.killed, "a worker died while scans were left"
        after = self.finished()
        assert len(after) == COUNT, "nothing is lost"
        assert {name: after[name] for name in self.killed} == self.killed, "nothing is done twice"
