"""Where the results of a scan go: plain names, or BIDS derivatives where the scan came from a BIDS data set."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.files import replacing

__all__ = ["relative_link", "remove_result", "result_path", "write_dataset_description"]

logger = logging.getLogger(__name__)

_GENERATOR = "brain_mri_anomaly_segmentation"
_BIDS_VERSION = "1.9.0"
# description and suffix of each result in a BIDS name; the reconstruction has the scan's own suffix
_BIDS_NAMES = {
    "anomaly_map": "desc-anomaly_map",
    "lesion_mask": "desc-lesion_mask",
    "mahalanobis_map": "desc-mahalanobis_map",
    "reconstruction": "desc-reconstruction_{suffix}",
    "uncertainty": "desc-uncertainty_map",
    "brain_mask": "desc-brain_mask",
    "result": "desc-anomaly_result",
    "report": "desc-anomaly_report",
    "quality": "desc-anomaly_quality",
    "mosaic": "desc-anomaly_mosaic",
    "panel": "desc-anomaly_panel",
}
_IMAGE_SUFFIX = ".nii.gz"
_DICOM = ("lesion_mask", "anomaly_map")  # what may be there as DICOM too
_OTHER_SUFFIXES = {"result": ".json", "report": ".html", "quality": ".png", "mosaic": ".png", "panel": ".png"}


def result_path(
    output_dir: str | os.PathLike[str], item: Mapping[Any, Any], name: str, suffix: str = _IMAGE_SUFFIX
) -> Path:
    """Return the path of one result of a scan; nothing is made on disk.

    Plain scans get `<output_dir>/<folder>/<stem>_<name>.nii.gz` for images and `<output_dir>/<folder>/<name><suffix>`
    for the rest (`result.json`). BIDS scans get names of BIDS derivatives,
    `<output_dir>/sub-01/ses-1/anat/sub-01_ses-1_space-T1w_desc-anomaly_map.nii.gz`.

    Args:
        output_dir: folder of all results.
        item: a scan of `find_scans`; `folder` and `stem` are used, and `bids_suffix` marks BIDS scans.
        name: anomaly_map, lesion_mask, mahalanobis_map, reconstruction, uncertainty, brain_mask, result, report,
            quality, mosaic or panel.
        suffix: of the file, with its dot.

    Raises:
        ValueError: if `name` is none of these.
    """
    if name not in _BIDS_NAMES:
        raise ValueError(f"`name` must be one of {', '.join(_BIDS_NAMES)}, got {name!r}.")
    folder = Path(output_dir) / item["folder"]
    space = item.get("bids_suffix")
    if space:
        return folder / f"{item['stem']}_space-{space}_{_BIDS_NAMES[name].format(suffix=space)}{suffix}"
    return folder / (f"{item['stem']}_{name}{suffix}" if suffix == _IMAGE_SUFFIX else f"{name}{suffix}")


def remove_result(output_dir: str | os.PathLike[str], item: Mapping[Any, Any]) -> None:
    """Remove the files of an earlier result of a scan, `result.json` first: without it the rest is no result.

    Args:
        output_dir: folder of all results.
        item: a scan, as for `result_path`.

    Raises:
        OSError: if a file cannot be removed.
    """
    for name in ("result", *(other for other in _BIDS_NAMES if other != "result")):
        result_path(output_dir, item, name, suffix=_OTHER_SUFFIXES.get(name, _IMAGE_SUFFIX)).unlink(missing_ok=True)
    for name in _DICOM:
        result_path(output_dir, item, name, suffix=".dcm").unlink(missing_ok=True)


def relative_link(target: str | os.PathLike[str], *, start: str | os.PathLike[str]) -> str:
    """Return the link to `target` for a web page in the folder `start`: relative, with `/`, special letters encoded."""
    return quote(Path(os.path.relpath(target, start)).as_posix())


def write_dataset_description(output_dir: str | os.PathLike[str], version: str) -> Path:
    """Write the `dataset_description.json` of BIDS derivatives.

    One of an earlier run is replaced. That of another data set stays as it is, with a warning.

    Args:
        output_dir: folder of all results; made if missing.
        version: of this bundle.

    Returns:
        The file.
    """
    path = Path(output_dir) / "dataset_description.json"
    if path.exists() and not _is_ours(path):
        logger.warning("%s: left as it is; results are better kept apart from another data set.", path)
        return path
    content = {
        "Name": f"Results of {_GENERATOR}",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": _GENERATOR, "Version": version}],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _is_ours(path: Path) -> bool:
    try:
        generators = json.loads(path.read_text(encoding="utf-8")).get("GeneratedBy", [])
        return any(generator.get("Name") == _GENERATOR for generator in generators)
    except (ValueError, AttributeError):
        return False
