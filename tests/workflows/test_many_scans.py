"""Several scans at a time, in processes and in parts: the same bytes, and what one of them does harms no other."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantom import phantom_affine, phantom_volume
from scripts.errors import InputError, reason
from scripts.workflows.cohort import part_of
from scripts.workflows.processes import run_in_processes

from .conftest import FAST

CONFIG = "bundle/configs/inference.yaml"
NAMES = ("s1_t1", "s2_t1", "s3_t1")
# what differs between two runs of the same: when, and how long
APART = ("date", "seconds", "total_seconds")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three scans, the second of which is constant."""
    (tmp_path / "scans").mkdir()
    for number, name in enumerate(NAMES):
        volume = np.ones((32, 32, 16)) if name == "s2_t1" else np.asarray(phantom_volume((32, 32, 16), number, "t1")[0])
        nib.save(nib.Nifti1Image(volume.astype(np.float32), phantom_affine((32, 32, 16), 2.0)), tmp_path / "scans" / f"{name}.nii.gz")
    return tmp_path / "scans"


@pytest.fixture
def infer(root: Path, trained: tuple[Path, subprocess.CompletedProcess], scans: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(out: str, **options: object) -> Path:
        options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), "report": False, "picture": False, **options}
        with pytest.raises((RuntimeError, InputError)) as caught:
            monai.bundle.run(config_file=str(root / CONFIG), input=str(scans), output_dir=str(tmp_path / out), **options)
        assert "scans have no anomaly map: s2_t1" in str(reason(caught.value))
        return tmp_path / out

    return run


def _files(folder: Path) -> dict[str, object]:
    """Return the content of each file of some results but for the page, without what names the time."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "index.html"):
        content: object = path.read_bytes()
        if path.name == "result.json":
            content = {key: value for key, value in json.loads(path.read_text()).items() if key not in APART}
        if path.name == "summary.csv":
            with path.open() as file:
                content = [{key: value for key, value in row.items() if key not in APART} for row in csv.DictReader(file)]
        found[path.relative_to(folder).as_posix()] = content
    return found


def test_processes_write_the_same_bytes_as_one_process(infer: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    one = _files(infer("one"))
    assert {"s1_t1/s1_t1_anomaly_map.nii.gz", "s3_t1/s3_t1_lesion_mask.nii.gz", "summary.csv", "regions.csv"} <= set(one)
    capfd.readouterr()
    two = _files(infer("two", num_workers=2))
    assert two == one
    log = capfd.readouterr().err
    for reported in (" candidate regions, ", "s2_t1: failed: ", "3 scans: 2 ok, 1 failed"):
        assert reported in log, "what the processes log comes out here"
    assert "Traceback" not in log


def test_parts_of_a_cohort_leave_the_tables_to_a_run_over_all(infer: Callable[..., Path], root: Path, trained: tuple[Path, subprocess.CompletedProcess], scans: Path, tmp_path: Path) -> None:
    whole = _files(infer("whole"))
    options = {**FAST, "checkpoint": str(trained[0] / "model.pt"), "report": False, "picture": False}
    run = partial(monai.bundle.run, config_file=str(root / CONFIG), input=str(scans), output_dir=str(tmp_path / "parts"), **options)
    run(shard="1/2")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["s1_t1", "s3_t1"]
    stamp = (tmp_path / "parts" / "s3_t1" / "result.json").stat().st_mtime_ns
    with pytest.raises((RuntimeError, InputError)):
        run(shard="2/2")
    run(shard="4/4")
    assert _files(infer("parts")) == whole
    assert (tmp_path / "parts" / "s3_t1" / "result.json").stat().st_mtime_ns == stamp, "nothing is done twice"


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_parts_hold_each_scan_once(count: int) -> None:
    items = list(range(4))
    parts = [part_of(items, f"{index}/{count}") for index in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1.5/2"])
def test_no_part(shard: str) -> None:
    with pytest.raises(InputError, match=r"`shard` must be i/n, the i-th of n parts, counted from 1, got .*For example --shard 2/8"):
        part_of([1, 2], shard)


WORK = """
import logging, os, signal
from pathlib import Path
class Work:
    def __init__(self, folder, dies_at, dies_once_at):
        self.folder, self.dies_at, self.dies_once_at = Path(folder), dies_at, dies_once_at
    def __call__(self, number):
        logging.getLogger("work").warning("number %d", number)
        first = not (self.folder / str(number)).exists()
        (self.folder / str(number)).touch()
        if number in self.dies_at or (number in self.dies_once_at and first):
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_process_that_dies_takes_no_other_item_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mortal_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)  # processes look there too
    work = importlib.import_module("mortal_work").Work(tmp_path, dies_at=(2,), dies_once_at=(4,))
    found = dict(run_in_processes(work, [1, 2, 3, 4, 5], num_workers=2))
    assert found == {0: 1, 1: None, 2: 9, 3: 16, 4: 25}
    reported = [record.getMessage() for record in caplog.records if record.name == "work"]
    assert sorted(reported) == sorted(f"number {number}" for number in [1, 2, 2, 3, 4, 4, 5])


class Unreadable:
    """Something that can be pickled, but not read."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def test_a_process_that_cannot_start_is_reported_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended before it began; what it said stands above"):
        list(run_in_processes(Unreadable(), [1, 2], num_workers=2))  # type: ignore[arg-type]
    assert "invalid literal for int() with base 10: 'no number'" in capfd.readouterr().err


SLEEPERS = """
import os, sys, time
from pathlib import Path
from scripts.workflows.processes import run_in_processes
def work(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 600)
if __name__ == "__main__":
    list(run_in_processes(work, [sys.argv[1]] * 2, num_workers=2))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, "600"), (signal.SIGKILL, "3")])
def test_processes_end_with_the_one_that_started_them(root: Path, tmp_path: Path, number: int, seconds: str) -> None:
    program = tmp_path / "sleepers.py"
    program.write_text(SLEEPERS)
    (tmp_path / "pids").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "pids"), seconds], env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE, text=True, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "pids").iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == 2
    process.send_signal(number)
    _, reported = process.communicate(timeout=60)
    assert process.returncode == -number
    assert all(_has_ended(pid, deadline) for pid in pids)
    assert reported.count("Traceback") <= 1, reported


def _has_ended(pid: int, deadline: float) -> bool:
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").is_file() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.1)
    return False
