"""Quality control: what is measured of a scan, the bounds, and the transform that refuses a scan."""

from __future__ import annotations

from scripts.quality.control import QualityControld, ScanRefused

__all__ = ["QualityControld", "ScanRefused"]
