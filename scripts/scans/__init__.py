"""Scans as files: read by what they hold, written whole, with the grids that they lie on."""

from __future__ import annotations

from scripts.scans.reader import ScanReader
from scripts.scans.volume import AtomicNibabelWriter, grid_affine, output_grid

__all__ = ["AtomicNibabelWriter", "ScanReader", "grid_affine", "output_grid"]
