"""Where data lie and where results go (environment or `.env` file); one writer at a time, known to be writable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values
from filelock import FileLock, Timeout
from scripts.errors import InputError
from scripts.files import temporary_folder

__all__ = ["check_writable", "data_dir", "lock_folder", "log_dir", "only_writer"]

_ENV_FILE = ".env"


def data_dir() -> str:
    """Return the folder of the data sets: `DATA_DIR` of the environment, else of `.env`, else `data`.

    Raises:
        InputError: if `DATA_DIR` is set and is no folder. Without it, the step that reads `data` reports what lacks.
    """
    value, source = _setting("DATA_DIR")
    if value is None:
        return "data"
    if not Path(value).is_dir():
        fix = "Correct it, or give --dataset_dir the folder that holds Train, Test and splits"
        raise InputError(f"`DATA_DIR` ({source}) is not a folder", path=value, fix=fix)
    return value


def log_dir() -> str:
    """Return the folder under which results go: `LOG_DIR` of the environment, else of `.env`, else `runs`.

    Raises:
        InputError: if `LOG_DIR` is a file. A folder that does not exist is made by the step that writes there.
    """
    value, source = _setting("LOG_DIR")
    if value is not None and Path(value).exists() and not Path(value).is_dir():
        raise InputError(f"`LOG_DIR` ({source}) is a file", path=value, fix="Name a folder, or give --output_dir")
    return value or "runs"


def _setting(name: str) -> tuple[str | None, str]:
    """Return a variable's value, `~` expanded, and where it stands; an empty value counts as none."""
    for values, source in ((os.environ, "from the environment"), (dotenv_values(_ENV_FILE), f"from {_ENV_FILE}")):
        value = values.get(name)
        if value:
            return str(Path(value).expanduser()), source
    return None, ""


_LOCK = ".lock"
_MAX_NAME = 255  # bytes of a file's name on the usual file systems
_LEAST_FREE = 50_000_000  # bytes


def lock_folder(folder: str | os.PathLike[str], what: str) -> FileLock:
    """Lock a folder for this process, which may lock it again, until the lock is released or the process ends.

    Args:
        folder: made if missing; a file `.lock` stays in it.
        what: what else may be writing there, for the message.

    Raises:
        InputError: if another process holds the lock, or the folder cannot be written to.
    """
    root = Path(folder)
    check_writable(root)
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root.resolve() / _LOCK, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        fix = "Wait until it ends, or choose another folder."
        raise InputError(f"another {what} is writing there", path=root, fix=fix) from error
    return lock


@contextmanager
def only_writer(folder: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Keep a folder locked inside of a block; arguments and errors as for `lock_folder`."""
    lock = lock_folder(folder, what)
    try:
        yield
    finally:
        lock.release()


def check_writable(folder: str | os.PathLike[str], names: Iterable[str] = ()) -> None:
    """Check that files can be written into a folder, or, where it is missing, that it can be made; nothing stays.

    Args:
        folder: the folder.
        names: of files and sub-folders that are to be written there, for their length.

    Raises:
        InputError: if a file is in the way, the folder or its disk is read-only, the disk is full, or a name is too
            long.
    """
    root = Path(folder)
    for name in names:
        if len(os.fsencode(name)) > _MAX_NAME:
            what = f"a result's name is {len(os.fsencode(name))} bytes long, more than {_MAX_NAME}: {name[:40]}…"
            raise InputError(what, path=root, fix="Rename the scan, or give a shorter name.")
    taken = next((path for path in (root, *root.parents) if path.exists() and not path.is_dir()), None)
    if taken is not None:
        raise InputError("a file is where the folder for results should be", path=taken, fix="Choose another folder.")
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.is_dir())
    try:
        with temporary_folder(there) as scratch:
            (Path(scratch) / "test").write_bytes(bytes(4096))
        free = shutil.disk_usage(there).free
    except OSError as error:
        what = f"nothing can be written there ({error.strerror or error})"
        raise InputError(what, path=root, fix="Choose another folder, or change its rights.") from error
    if free < _LEAST_FREE:
        what = f"its disk is full ({free / 1e6:.0f} MB are free)"
        raise InputError(what, path=root, fix="Make room, or choose another folder.")
