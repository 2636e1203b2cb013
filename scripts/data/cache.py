"""Keep volumes that were brought to the network's grid on disk, so that no training run does that work again."""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import PersistentDataset
from scripts.errors import InputError

__all__ = ["VolumeCache", "describe_steps", "hash_files"]

logger = logging.getLogger(__name__)
FILE_KEYS = ("image", "brain_mask", "label")
_DEPTH = 6  # attributes of attributes, such as the reader of the loader of `LoadImaged`


class VolumeCache(PersistentDataset):
    """MONAI's `PersistentDataset` for volumes: one file a volume, shared by all folds, seeds and runs.

    A file is used again if the scan's files have the same path, size and time of change, and the steps the same
    settings; it holds the tensors bit for bit. It does not know about changes of the program: empty the folder after an
    update. Files that cannot be read are made anew.

    Args:
        data: datalist.
        transform: deterministic steps that end in tensors without metadata.
        cache_dir: the folder; None keeps nothing.

    Raises:
        InputError: if `cache_dir` is a file.
    """

    def __init__(
        self, data: Sequence[Mapping[str, Any]], transform: Sequence[Callable] | Callable, cache_dir: str | None = None
    ) -> None:
        folder = None if cache_dir is None else Path(cache_dir).expanduser()
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"`cache_dir` must be a folder, got the file {folder}.")
        super().__init__(
            data=data, transform=transform, cache_dir=folder, hash_func=hash_files, hash_transform=describe_steps
        )

    def _cachecheck(self, item_transformed: Any) -> Any:
        try:
            return super()._cachecheck(item_transformed)
        except (RuntimeError, EOFError):
            name = f"{self.hash_func(item_transformed).decode()}{self.transform_hash}.pt"
            path = None if self.cache_dir is None else self.cache_dir / name
            if path is None or not path.is_file():
                raise  # of a step, not of the file
            logger.warning("%s: cannot be read, made anew.", path)
            path.unlink()
            return super()._cachecheck(item_transformed)


def hash_files(item: Mapping[str, Any]) -> bytes:
    """Return a hash of the files of a case: path, size and time of change of each.

    Args:
        item: an entry of a datalist.
    """
    facts: list[object] = []
    for key in FILE_KEYS:
        if key in item:
            state = os.stat(item[key])
            facts.append([key, os.path.abspath(item[key]), state.st_size, state.st_mtime_ns])
    return _digest(facts)


def describe_steps(steps: Sequence[Callable]) -> bytes:
    """Return a hash of the classes and settings of transforms, the same in every process.

    Args:
        steps: the transforms.
    """
    return _digest([_plain(step, _DEPTH) for step in steps])


def _digest(facts: object) -> bytes:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32].encode()


def _plain(value: Any, depth: int) -> Any:
    """Return a value as what JSON can hold, objects as their class and attributes."""
    if isinstance(value, enum.Enum) or value is None or isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, depth) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, depth) for entry in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        return np.asarray(value).tolist()
    if isinstance(value, torch.nn.Module):
        return repr(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    own = getattr(value, "__dict__", {}) if depth else {}
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return [kind, {name: _plain(entry, depth - 1) for name, entry in own.items()}]
