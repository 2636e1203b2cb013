"""The last scans as they were before their maps were thresholded, so that another threshold needs no network."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from scripts.files import file_sha256

__all__ = ["FinishedScans", "checksum", "new_entries"]

_APART = "latencies"  # of the host, per request


class FinishedScans:
    """Keep the entries of the last few cases in memory, on the CPU.

    Args:
        most: how many; a scan of 256 x 256 x 180 voxels takes about 250 MiB.

    Examples:
        >>> scans = FinishedScans(most=1)
        >>> scans.put("a", {"score": 1.0})
        >>> scans.put("b", {"score": 2.0})
        >>> scans.get("a"), scans.get("b")
        (None, {'score': 2.0})
    """

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the entries of a case, or None where it is not kept; its tensors must not be changed in place."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return {name: _own(value) for name, value in self._kept[key].items()}

    def put(self, key: str, entries: Mapping[str, Any]) -> None:
        """Keep a case, in the place of the one that was not asked for longest."""
        self._kept[key] = {name: _own(value) for name, value in entries.items()}
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)


def _own(value: Any) -> Any:
    return value.cpu() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def new_entries(data: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a case that were made or changed since it was asked for.

    Args:
        data: the case.
        asked: the request that it came from.

    Examples:
        >>> new_entries({"image": "a.nii", "pred": 1}, {"image": "a.nii"})
        {'pred': 1}
    """
    return {name: value for name, value in data.items() if value is not asked.get(name, _APART) and name != _APART}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return file_sha256(path)
    parts = [(str(file.relative_to(path)), checksum(file)) for file in sorted(path.rglob("*")) if file.is_file()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()
