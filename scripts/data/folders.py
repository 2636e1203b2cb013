"""Where data lie and where results go, as far as no command line says it: the environment, then a `.env` file."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from scripts.errors import InputError

__all__ = ["data_dir", "log_dir"]

_ENV_FILE = ".env"


def data_dir() -> str:
    """Return the folder of the data sets: `DATA_DIR` of the environment, else of `.env`, else `data`.

    Raises:
        InputError: if `DATA_DIR` is set and is no folder. Without it, the step that reads `data` tells what is missing.
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
