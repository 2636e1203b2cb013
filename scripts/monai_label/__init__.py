"""What MONAI Label needs beyond the bundle: messages that reach its users, checked requests, and the result."""

from __future__ import annotations

from scripts.monai_label.request import check_request, raise_as_web_errors
from scripts.monai_label.task import HostResultd, adopt_bundle_tasks

__all__ = ["HostResultd", "adopt_bundle_tasks", "check_request", "raise_as_web_errors"]

raise_as_web_errors()  # here, as MONAI Label loads the bundle's modules anew with each request
adopt_bundle_tasks()
