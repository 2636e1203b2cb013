"""Whole jobs over many scans, built from the bundle's parts."""

from __future__ import annotations

from scripts.workflows.cohort import Cohort
from scripts.workflows.experiment import Experiment
from scripts.workflows.preprocess import Preprocess
from scripts.workflows.scan_steps import ScanSteps

__all__ = ["Cohort", "Experiment", "Preprocess", "ScanSteps"]
