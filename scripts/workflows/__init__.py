"""Whole jobs over many scans, built from the bundle's parts."""

from __future__ import annotations

from scripts.workflows.cohort import Cohort

__all__ = ["Cohort"]
