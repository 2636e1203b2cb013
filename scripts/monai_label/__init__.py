"""What MONAI Label needs beyond the bundle: messages that reach its users, options checked in time, and the result."""

from __future__ import annotations

from scripts.monai_label.host_error import raise_as_web_errors
from scripts.monai_label.host_options import CheckOptions
from scripts.monai_label.host_result import HostResultd

__all__ = ["CheckOptions", "HostResultd", "raise_as_web_errors"]

raise_as_web_errors()  # here, as MONAI Label loads the bundle's modules anew with each request
