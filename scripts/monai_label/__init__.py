"""What MONAI Label needs beyond the bundle: options checked where its users see the message, and the result."""

from __future__ import annotations

from scripts.monai_label.host_options import CheckOptions
from scripts.monai_label.host_result import HostResultd

__all__ = ["CheckOptions", "HostResultd"]
