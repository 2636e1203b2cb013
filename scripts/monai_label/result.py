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

    It does so only where a host gave the scan, which it does by a file's name under `path_key`. Scans of our own
    commands have their result written by `ScanResult` itself.

    Then it collects garbage. MONAI Label loads the bundle's modules anew several times with each request; the old ones
    hang together in cycles, with the templates and networks that they keep (50 MiB a request). Left to itself, Python
    would collect them only after twenty requests or so.

    Args:
        results: describes the scan.
        path_key: where the host keeps the name of the scan's file.
        result_key: where the result goes.
        volume_key: where the volume goes.
        wish_key: where the name of the volume stands that was asked for; the lesion mask where there is none.
    """

    def __init__(
        self,
        results: ScanResult,
        *,
        path_key: str = "image_path",
        result_key: str = "result",
        volume_key: str = "pred",
        wish_key: str = "returns",
    ) -> None:
        self.results = results
        self.path_key = path_key
        self.result_key = result_key
        self.volume_key, self.wish_key = volume_key, wish_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data`, with volume and result where a host gave the scan."""
        if self.path_key not in data:
            return dict(data)
        case = Path(str(data[self.path_key])).name.split(".")[0]
        reported = self.results.describe({"case": case, **{str(key): value for key, value in data.items()}})
        gc.collect()
        wish = str(data.get(self.wish_key) or _MASK)
        result = {key: value for key, value in reported.items() if key not in _APART} | {"volume": wish}
        answer: dict[Hashable, Any] = {**data, self.volume_key: data[wish], self.result_key: result}
        return answer if wish == _MASK else {**answer, "result_dtype": "float32"}
