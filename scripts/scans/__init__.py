"""Scans as files: read by what they hold, written whole, with the grids that they lie on."""

from __future__ import annotations

from scripts.scans.grid import grid_affine, output_grid
from scripts.scans.reader import ScanReader
from scripts.scans.volume import AtomicNibabelWriter

__all__ = ["AtomicNibabelWriter", "ScanReader", "grid_affine", "output_grid"]
