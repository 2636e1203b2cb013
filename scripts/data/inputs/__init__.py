"""Scans as users name them: files, folders, BIDS data sets and CSV tables, as MONAI datalists."""

from __future__ import annotations

from scripts.data.inputs.find import find_scans
from scripts.data.inputs.raw_cases import find_raw_cases
from scripts.data.inputs.sessions import find_sessions

__all__ = ["find_raw_cases", "find_scans", "find_sessions"]
