"""DICOM series as volumes, and results as DICOM objects that refer to them."""

from __future__ import annotations

from scripts.scans.dicom.volume import DicomSeries, find_series, is_dicom, read_dicom, series_of

__all__ = ["DicomSeries", "find_series", "is_dicom", "read_dicom", "series_of"]
