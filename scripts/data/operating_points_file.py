"""Write one entry of the thresholds file and leave the others as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.files import replacing

__all__ = ["write_operating_points"]


def write_operating_points(path: str | Path, entry: Mapping[str, Any], *, modality: str, preset: str) -> None:
    """Put an entry into `{modality: {preset: entry}}`, under a temporary name first.

    Args:
        path: the JSON file; made if it is missing.
        entry: as `OperatingPoints` reads it.
        modality: t1 or t2.
        preset: name of the entry.

    Raises:
        InputError: if the file is there and is no such JSON; it is left alone.
    """
    path = Path(path)
    content: dict[str, dict[str, Any]] = {}
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content[modality] = dict(content.get(modality, {}))
        except (ValueError, TypeError, AttributeError) as error:
            what = f"the thresholds cannot be read ({type(error).__name__}: {error})"
            raise InputError(what, path=path, fix="Move the file away, or give another one.") from error
    content.setdefault(modality, {})[preset] = dict(entry)
    ordered = {name: dict(sorted(content[name].items())) for name in sorted(content)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
