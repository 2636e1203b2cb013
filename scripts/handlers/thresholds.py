"""Fixed operating points: read from a validation run's `thresholds.json` or given in the config."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from scripts.errors import InputError

__all__ = ["ThresholdsSource", "read_thresholds"]

ThresholdsSource = str | PathLike[str] | Mapping[str, float | Mapping[str, float]] | None


def read_thresholds(source: ThresholdsSource) -> dict[str, dict[str, float]]:
    """Read thresholds by map and by name.

    Args:
        source: path of a `thresholds.json`, or its content {map: {name: threshold}}; a bare number per map stands for
            its `best_dice`. None or an empty path gives no threshold.

    Returns:
        {map: {name: threshold}}.

    Raises:
        InputError: when the file is missing or no JSON, or an entry is no finite number.
    """
    if source is None or source == "":
        return {}
    path, content = (None, source) if isinstance(source, Mapping) else (source, _read_json(Path(source)))
    if not isinstance(content, Mapping):
        raise InputError(f"`thresholds` must be a mapping of map names, got {type(content).__name__}", path=path)
    named = {name: entry if isinstance(entry, Mapping) else {"best_dice": entry} for name, entry in content.items()}
    for map_name, entry in named.items():
        for point, value in entry.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(
                    f"threshold `{point}` of `{map_name}` must be a finite number, got {value!r}", path=path
                )
    return {name: {point: float(value) for point, value in entry.items()} for name, entry in named.items()}


def _read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "no such file of thresholds",
            path=path,
            fix="Evaluate a validation set first; its output folder then holds thresholds.json.",
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"not a JSON file: {error}", path=path, fix="Give a thresholds.json of an evaluation."
        ) from error
