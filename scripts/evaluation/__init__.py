"""Evaluation of anomaly maps: cases, scores, rows, summaries, figures and operating points."""

from __future__ import annotations

from scripts.evaluation.operating_points import OperatingPoints, write_operating_points

__all__ = ["OperatingPoints", "write_operating_points"]
