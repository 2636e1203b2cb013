"""What MONAI Label needs beyond the bundle: messages that reach its users, options checked in time, and the result."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from scripts.errors import InputError
from scripts.handlers.scan_result import ScanResult
from scripts.options import AUTO, number

__all__ = ["CheckOptions", "HostResultd", "raise_as_web_errors"]

_UNPROCESSABLE = 422  # HTTP status: what was sent is understood, but cannot be used
_BY_NAME = " (Options of the command line, such as --force true, are set by name in the client.)"


def raise_as_web_errors() -> None:
    """Have every `InputError` raised as an HTTP error with the status 422, where MONAI Label runs.

    Starlette, on which its server stands, sends the text of its `HTTPException` to the client. Elsewhere nothing
    changes, also where starlette is installed.
    """
    if "monailabel" in sys.modules:
        InputError.raised_as = _web_kind


def _web_kind(kind: type[InputError]) -> type[InputError]:
    """Return a subclass of `kind` that is starlette's `HTTPException` as well."""
    from starlette.exceptions import HTTPException  # only a server has it

    def detail(self: InputError) -> str:
        message = str(self)
        return message if "--" not in message else f"{message.rstrip('.')}.{_BY_NAME}"

    members = {
        "__str__": lambda self: str(self.args[0]),  # HTTPException puts the status before it
        "status_code": _UNPROCESSABLE,
        "headers": None,
        "detail": property(detail),
    }
    return type(kind.__name__, (kind, HTTPException), members)


_MIN_SAMPLES = 2


class CheckOptions(Transform):
    """Check options when a case comes, not when the config is read.

    What fails while a config is read reaches the user of MONAI Label as "Internal Server Error", what a transform
    raises does so in full. So this step stands before those that use the options.

    Args:
        num_samples: number of reconstructions, or its text.
        threshold: of the anomaly map, or its text; None, "" and "auto" stand for the shipped one.

    Raises:
        InputError: on calling, for the first option that cannot be used.
    """

    def __init__(self, *, num_samples: object, threshold: object = None) -> None:
        self.num_samples, self.threshold = num_samples, threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is, or raise."""
        samples = _read(self.num_samples)
        if not isinstance(samples, int) or samples < _MIN_SAMPLES:
            raise InputError(f"`num_samples` must be a whole number from {_MIN_SAMPLES} on, got {self.num_samples!r}")
        threshold = _read(self.threshold)
        if threshold is not None and not threshold >= 0:
            raise InputError(f"`threshold` must be a number from 0 on, or {AUTO}, got {self.threshold!r}")
        return dict(data)


def _read(value: object) -> float | int | None:
    """Return the number, or NaN for what is none."""
    try:
        return number(value)
    except InputError:
        return math.nan


_APART = ("input", "files")  # places on the server, which mean nothing to its client


class HostResultd(Transform):
    """Write the result of a scan, as in `result.json`, into `data["result"]`, which MONAI Label sends to its client.

    It does so only where a host gave the scan, which it does by a file's name under `path_key`. Scans of our own
    commands have their result written by `ScanResult` itself.

    Then it collects garbage. MONAI Label loads the bundle's modules anew several times with each request; the old ones
    hang together in cycles, with the templates and networks that they keep (50 MiB a request). Left to itself, Python
    would collect them only after twenty requests or so.

    Args:
        results: describes the scan.
        path_key: where the host keeps the name of the scan's file.
        result_key: where the result goes.
    """

    def __init__(self, results: ScanResult, *, path_key: str = "image_path", result_key: str = "result") -> None:
        self.results = results
        self.path_key = path_key
        self.result_key = result_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data`, with the result where a host gave the scan."""
        if self.path_key not in data:
            return dict(data)
        case = Path(str(data[self.path_key])).name.split(".")[0]
        told = self.results.describe({"case": case, **{str(key): value for key, value in data.items()}})
        gc.collect()
        return {**data, self.result_key: {key: value for key, value in told.items() if key not in _APART}}


raise_as_web_errors()  # here, as MONAI Label loads the bundle's modules anew with each request
