"""Brain extraction: which scans need it, the libraries that do it, and the transform that applies it."""

from __future__ import annotations

from scripts.brain_extraction.extract import BrainExtractiond

__all__ = ["BrainExtractiond"]
