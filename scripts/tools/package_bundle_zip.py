"""A zip archive that is the same to the last byte whenever and wherever it is written."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from scripts.files import replacing

__all__ = ["EARLIEST", "write_zip"]

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold
UNIX = 3
PERMISSIONS = 0o100644  # a regular file, read by all, written by its owner


def write_zip(path: str | Path, files: Mapping[str, bytes], *, folder: str) -> Path:
    """Write files into one folder of a zip archive: sorted, of one date, with one set of permissions.

    They are stored without compression, because compressors differ between versions of zlib and would make two archives
    of the same files differ.

    Args:
        path: the archive; written under a temporary name and then renamed.
        files: the content of each file by its name, with `/` between folders.
        folder: the top folder of the archive.

    Returns:
        The path of the archive.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}", date_time=EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = PERMISSIONS << 16
            archive.writestr(entry, files[name])
    return Path(path)
