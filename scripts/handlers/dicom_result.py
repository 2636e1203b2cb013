"""The DICOM files of a scan's result, where the scan came as DICOM."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.results import result_path
from scripts.results.provenance import BUNDLE, bundle_version
from scripts.scans.dicom import is_dicom
from scripts.scans.dicom.results import DicomSource, ResultMaker
from scripts.scans.volume import as_volume, grid_of, source_path

__all__ = ["DicomOutput", "dicom_files", "write_dicom"]

logger = logging.getLogger(__name__)
_SUFFIX = ".dcm"
_LABELS = {"lesion_mask": "Candidate regions", "anomaly_map": "Anomaly map"}


class DicomOutput(StrEnum):
    """When results are written as DICOM too."""

    AUTO = "auto"
    TRUE = "true"
    FALSE = "false"

    @classmethod
    def of(cls, value: object) -> DicomOutput:
        """Return the member of that value, a bool among them.

        Raises:
            InputError: for anything else.
        """
        word = str(value).strip().lower()
        if word not in list(cls):
            raise InputError(f"`dicom` must be one of {', '.join(cls)}, got {value!r}")
        return cls(word)


def dicom_files(output_dir: str, item: Mapping[str, Any], save: Sequence[str], when: DicomOutput) -> dict[str, Path]:
    """Return the DICOM files that a scan gets: a segmentation and a parametric map, of the images that are saved.

    Args:
        output_dir: folder of all results.
        item: the scan; `image` is its file, or was loaded from it.
        save: the images that are written.
        when: `auto` and `true` write them where the scan is DICOM, `auto` only if highdicom is installed.
    """
    image = item["image"]
    path = Path(image) if isinstance(image, str) else source_path(image)
    if when is DicomOutput.FALSE or path is None or not is_dicom(path):
        return {}
    if when is DicomOutput.AUTO and find_spec("highdicom") is None:
        logger.warning("%s: no DICOM results, as highdicom is not installed (`pip install highdicom`).", path)
        return {}
    return {name: result_path(output_dir, item, name, suffix=_SUFFIX) for name in _LABELS if name in save}


def write_dicom(
    files: Mapping[str, Path], item: Mapping[str, Any], *, parameters: Mapping[str, Any], when: DicomOutput
) -> dict[str, str]:
    """Write the DICOM files of a finished scan.

    They carry the patient and study of the source series, so that an archive files them there.

    Args:
        files: from `dicom_files`.
        item: the scan, with its images on its own grid.
        parameters: what the maps were made with; noted in the segmentation.
        when: with `auto`, a series that results cannot refer to gives a warning in their place.

    Returns:
        The files' names by what they hold, such as `lesion_mask_dicom`.

    Raises:
        InputError: with `true`, if results cannot refer to the series.
    """
    image = source_path(item["image"])
    if not files or image is None:
        return {}
    maker = ResultMaker(
        name=BUNDLE, version=bundle_version(), parameters={key: str(value) for key, value in parameters.items()}
    )
    try:
        source = DicomSource(image)
    except InputError as error:
        if when is DicomOutput.TRUE:
            raise
        logger.warning("No DICOM results: %s", error)
        return {}
    for name, path in files.items():
        write = source.write_segmentation if name == "lesion_mask" else source.write_map
        write(path, as_volume(item[name]), grid_of(item[name]), label=_LABELS[name], maker=maker)
    return {f"{name}_dicom": path.name for name, path in files.items()}
