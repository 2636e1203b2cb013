"""What a program that shows scans gets beside the lesion mask: the JSON result of the scan."""

from __future__ import annotations

import gc
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from scripts.handlers.scan_result import ScanResult

__all__ = ["HostResultd"]

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
