"""Files are written under a temporary name and then renamed, so that none is ever half-written."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

__all__ = ["file_sha256", "remove_left_over", "replacing", "temporary_folder"]

_CHUNK = 1 << 20
_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-([0-9]+)-[a-z0-9_]{8}(\.[A-Za-z0-9.]+)?")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` when the block ends without an error.

    The temporary file lies in the same folder (made if missing) and keeps the suffix; after an error it is removed and
    an earlier file at `path` stays as it was. File and folder are brought to the disk before and after the change of
    name, so that a loss of power leaves the old file or the new one. What processes that were killed left behind in
    the folder is removed the first time that this one writes there.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    _clean_once(final.parent.resolve())
    temporary = final.with_name(_temporary_name(final.name))
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, final)
        _to_disk(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> list[Path]:
    """Remove temporary files and folders of processes of this machine that are no more; return what was removed.

    Args:
        folder: where to look; its sub-folders are left alone.
    """
    removed = []
    for path in folder.glob(".tmp-*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and match[1] == _host() and not _is_alive(int(match[2])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def temporary_folder(parent: str | os.PathLike[str]) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder for this process alone, which a later one removes if this one is killed.

    Args:
        parent: where to make it; made if missing.
    """
    Path(parent).mkdir(parents=True, exist_ok=True)
    _clean_once(Path(parent).resolve())
    return tempfile.TemporaryDirectory(prefix=f".tmp-{_host()}-{os.getpid()}-", dir=parent)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _temporary_name(name: str) -> str:
    """Return a name that is no longer than any file system allows, with the same suffix and the writer in it."""
    stem, dot, suffix = name.partition(".nii") if ".nii" in name else name.rpartition(".")
    kept = dot + suffix if stem and len(dot + suffix) <= 16 else ""
    return f".tmp-{_host()}-{os.getpid()}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{kept}"


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


@cache
def _clean_once(folder: Path) -> None:
    with suppress(OSError):
        remove_left_over(folder)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere a signal ends the process that it asks about
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's, or no way to tell
    return True


def _to_disk(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk, where the system can tell."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
