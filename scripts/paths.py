"""Where the bundle lies, whichever folder a command is started from."""

from __future__ import annotations

from pathlib import Path


def project_root() -> Path:
    """Return the folder that holds `scripts/` (links resolved)."""
    return Path(__file__).resolve().parent.parent


def bundle_root() -> str:
    """Return the folder that holds `configs/` and `models/`.

    In the repository that is `bundle/` beside `scripts/`; in an unzipped package it is the folder of `scripts/` itself.
    """
    root = project_root()
    nested = root / "bundle"
    return str(nested if (nested / "configs").is_dir() else root)
