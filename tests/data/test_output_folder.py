"""Where nothing can be written is known before anything is computed, and a folder has one writer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from scripts.data.folders import check_writable, lock_folder, only_writer
from scripts.errors import InputError

HOLD = "import sys, time\nfrom scripts.data.folders import lock_folder\nlock = lock_folder(sys.argv[1], 'training')\nprint('held', flush=True)\ntime.sleep(60)"


def test_the_check_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(InputError, match=r"/out: a file is where the folder for results should be\. Choose another folder"):
            check_writable(folder)


def test_long_names_are_counted_in_bytes(tmp_path: Path) -> None:
    check_writable(tmp_path, ["ü" * 127])
    with pytest.raises(InputError, match="a result's name is 256 bytes long, more than 255: üü"):
        check_writable(tmp_path, ["ü" * 128])


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", denied)
    with pytest.raises(InputError, match=r"nothing can be written there \(Read-only file system\)\. Choose another folder"):
        check_writable(tmp_path)


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 3_000_000))
    with pytest.raises(InputError, match=r"its disk is full \(3 MB are free\)\. Make room"):
        check_writable(tmp_path)


def test_a_check_that_was_killed_leaves_nothing_for_long(tmp_path: Path, root: Path) -> None:
    script = "import os, pathlib, sys\nfrom scripts.data.folders import check_writable\n"
    script += "pathlib.Path.write_bytes = lambda *_: os.kill(os.getpid(), 9)\ncheck_writable(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_has_one_writer_and_is_free_when_that_one_was_killed(tmp_path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=r"another training is writing there\. Wait until it ends"):
        lock_folder(tmp_path, "training")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    for _ in range(50):
        try:
            with only_writer(tmp_path, "training"), only_writer(tmp_path, "training"):  # this process may, twice
                return
        except InputError:
            time.sleep(0.1)
    pytest.fail("the lock outlived its process")
