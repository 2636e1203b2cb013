"""The analysis of one scan as a Python function: arrays, candidate regions and score."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from scripts.cli.analyze import analyze as run_analysis
from scripts.data import find_sessions
from scripts.errors import InputError, reason
from scripts.results import result_path

__all__ = ["Analysis", "analyze"]

_NAMING = ("modality", "series", "baseline")  # options that say which scan is meant


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was found in a scan.

    Attributes:
        anomaly_map: [H, W, D] on the scan's own grid, at least 0.
        lesion_mask: [H, W, D] bool, the candidate regions.
        affine: voxel to world, RAS, mm [4, 4].
        regions: a dict for each candidate region, that with most evidence first, as in `result.json`.
        score: the anomaly score of the scan.
        result: all of `result.json`.
    """

    anomaly_map: NDArray[np.float32]
    lesion_mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    regions: list[dict[str, Any]]
    score: float
    result: dict[str, Any]


def analyze(scan: str | os.PathLike[str], output_dir: str | os.PathLike[str] | None = None, **options: Any) -> Analysis:
    """Find the anomalies of one scan.

    Args:
        scan: a NIfTI or MGH file, or a folder or file of DICOM.
        output_dir: where images, report.html and result.json are kept; by default nothing is kept.
        **options: those of the command `brain-anomaly`, such as `modality="t2"`, `num_samples=5`, or `baseline=…`, an
            earlier scan; `result["change"]` then says what changed.

    Raises:
        InputError: if the scan or an option cannot be used, the scan is refused by quality control, or more than one
            scan is named.
    """
    naming = {name: options[name] for name in _NAMING if options.get(name) is not None}
    items = find_sessions(os.fspath(scan), **naming)
    if len([item for item in items if item["image"] not in {other.get("baseline") for other in items}]) > 1:
        fix = "Name one, or use the command brain-anomaly for all"
        raise InputError(f"it holds {len(items)} scans", path=scan, fix=fix)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary if output_dir is None else output_dir)
        try:
            run_analysis(os.fspath(scan), str(folder), **options)
        except Exception as error:
            raise reason(error) from error
        return _read(folder, items[-1])


def _read(folder: Path, item: dict[str, str]) -> Analysis:
    result = json.loads(result_path(folder, item, "result", suffix=".json").read_text(encoding="utf-8"))
    anomaly_map: Any = nib.load(result_path(folder, item, "anomaly_map"))
    mask: Any = nib.load(result_path(folder, item, "lesion_mask"))
    return Analysis(
        anomaly_map=np.asarray(anomaly_map.dataobj, dtype=np.float32),
        lesion_mask=np.asarray(mask.dataobj) > 0,
        affine=np.asarray(anomaly_map.affine, dtype=np.float64),
        regions=result["regions"],
        score=float(result["anomaly_score"]),
        result=result,
    )
