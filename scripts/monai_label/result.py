"""What a program that shows scans gets: the lesion mask or the anomaly map, and the JSON result of the scan."""

from __future__ import annotations

import gc
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform
from scripts.handlers.scan_result import ScanResult

__all__ = ["HostResultd"]

_APART = ("input", "files")  # places on the server, which mean nothing to its client
_MASK = "lesion_mask"


class HostResultd(Transform):
    """Put the volume that was asked for, and the result as in `result.json`, where MONAI Label sends them from.

    The volume is `data["pred"]`, the result `data["result"]`. Maps go as float32, whatever type was asked for.

    It does so only where a host gave the scan, which it does by a file's name under `image_path`, and may ask for a
    volume under `returns`. Scans of our own
    commands have their result written by `ScanResult` itself.

    Then it collects garbage. MONAI Label loads the bundle's modules anew several times with each request; the old ones
    hang together in cycles, with the templates and networks that they keep (50 MiB a request). Left to itself, Python
    would collect them only after twenty requests or so.

    Args:
        results: describes the scan.
    """

    def __init__(self, results: ScanResult) -> None:
        self.results = results

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data`, with volume and result where a host gave the scan."""
        if "image_path" not in data:
            return dict(data)
        case = Path(str(data["image_path"])).name.split(".")[0]
        reported = self.results.describe({"case": case, **{str(key): value for key, value in data.items()}})
        gc.collect()
        wish = str(data.get("returns") or _MASK)
        result = {key: value for key, value in reported.items() if key not in _APART} | {"volume": wish}
        answer: dict[Hashable, Any] = {**data, "pred": data[wish], "result": result}
        return answer if wish == _MASK else {**answer, "result_dtype": "float32"}
