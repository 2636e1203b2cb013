"""Results as DICOM objects that refer to their source series: a segmentation and a parametric map."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripts.errors import InputError
from scripts.files import replacing
from scripts.scans.dicom.volume import DicomVolume, load_pydicom, read_dataset, read_dicom

__all__ = ["DicomSource", "ResultMaker"]

_SEGMENTATION_SERIES, _MAP_SERIES = 9001, 9002  # beyond what scanners number
_NARROWEST = 1e-6  # window of an empty map
_PATIENT_AND_STUDY = (  # a source may lack what must be there, if only empty
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, kw_only=True)
class ResultMaker:
    """Who made a result, as its header says.

    Attributes:
        name: of the software.
        version: of it.
        parameters: what it was run with, as text.
    """

    name: str
    version: str
    parameters: Mapping[str, str]


class DicomSource:
    """The series that results belong to.

    Args:
        path: any file of the series.

    Raises:
        InputError: if it cannot be read as a volume, consists of several multi-frame files, has no frame of
            reference, or highdicom is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._highdicom = importlib.import_module("highdicom")
        except ImportError:
            raise InputError("`dicom` results need highdicom", path=path, fix="`pip install highdicom`") from None
        self._pydicom = load_pydicom(path)
        self._volume: DicomVolume = read_dicom(path)
        files = list(dict.fromkeys(file for file, _ in self._volume.frames))
        if 1 < len(files) < len(self._volume.frames):
            raise InputError("results refer to one multi-frame file, and the series has several", path=path)
        step_mm = float(np.linalg.norm(self._volume.affine[:3, 2]))
        self._images = [_completed(read_dataset(file, voxels=True), step_mm) for file in files]
        if not self._images[0].get("FrameOfReferenceUID", None):
            raise InputError("it has no frame of reference that DICOM results could share", path=path)

    def write_segmentation(self, path: Path, mask: NDArray, affine: NDArray, *, label: str, maker: ResultMaker) -> None:
        """Write a mask as a DICOM segmentation with one segment, empty slices left out.

        Args:
            path: the file to write.
            mask: [columns, rows, slices] of the source, above 0 inside.
            affine: voxel to world, RAS, mm; that of the source.
            label: what the segment is called.
            maker: who made it.

        Raises:
            InputError: if the mask does not lie on the source's grid.
        """
        hd, codes = self._highdicom, self._pydicom.sr.codedict.codes
        algorithm = hd.AlgorithmIdentificationSequence(
            name=maker.name,
            version=maker.version,
            family=codes.cid7162.ArtificialIntelligence,
            parameters=dict(maker.parameters),
        )
        segment = hd.seg.SegmentDescription(
            segment_number=1,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        segmentation = hd.seg.Segmentation(
            pixel_array=self._frames(mask > 0, affine).astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[segment],
            series_number=_SEGMENTATION_SERIES,
            series_description=f"{label} (research only)",
            content_label="CANDIDATES",
            **self._common(maker),
        )
        self._save(segmentation, path)

    def write_map(self, path: Path, values: NDArray, affine: NDArray, *, label: str, maker: ResultMaker) -> None:
        """Write a map as a DICOM parametric map of 32-bit floating-point numbers without a unit.

        Args:
            path: the file to write.
            values: [columns, rows, slices] of the source.
            affine: voxel to world, RAS, mm; that of the source.
            label: what the map is called, 16 letters at most.
            maker: who made it.

        Raises:
            InputError: if the map does not lie on the source's grid.
        """
        hd, codes = self._highdicom, self._pydicom.sr.codedict.codes
        top = float(values.max())
        mapping = hd.pm.RealWorldValueMapping(
            lut_label=label.upper()[:16],
            lut_explanation=label,
            unit=codes.UCUM.NoUnits,
            value_range=(float(values.min()), top),
            slope=1.0,
            intercept=0.0,
        )
        parametric = hd.pm.ParametricMap(
            pixel_array=self._frames(values, affine).astype(np.float32),
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[hd.VOILUTTransformation(window_center=top / 2, window_width=max(top, _NARROWEST))],
            series_number=_MAP_SERIES,
            series_description=f"{label} (research only)",
            content_label="ANOMALY_MAP",
            **self._common(maker),
        )
        self._save(parametric, path)

    def _frames(self, volume: NDArray, affine: NDArray) -> NDArray:
        """Return [columns, rows, slices] as the frames [slices, rows, columns] of the source, in its files' order."""
        if volume.shape != self._volume.voxels.shape or not np.allclose(affine, self._volume.affine, atol=1e-2):
            raise InputError("the result does not lie on the grid of the series", path=self.path)
        frames = volume.transpose(2, 1, 0)
        if len(self._images) > 1:
            return frames
        return frames[np.argsort([index for _, index in self._volume.frames])]

    def _common(self, maker: ResultMaker) -> dict[str, Any]:
        new_uid = self._highdicom.UID
        return {
            "source_images": self._images,
            "series_instance_uid": new_uid(),
            "sop_instance_uid": new_uid(),
            "instance_number": 1,
            "manufacturer": maker.name,
            "manufacturer_model_name": maker.name,
            "software_versions": maker.version,
            "device_serial_number": maker.version,
        }

    @staticmethod
    def _save(result: Any, path: Path) -> None:
        result.BodyPartExamined = "BRAIN"
        with replacing(path) as temporary:
            result.save_as(temporary)


def _completed(dataset: Any, step_mm: float) -> Any:
    """Add what every image should have and some lack, so that results can take it over."""
    for keyword in _PATIENT_AND_STUDY:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if not dataset.get("SliceThickness", None):
        dataset.SliceThickness = f"{step_mm:.6g}"
    return dataset
