"""Volumes turned into DICOM, classic (a file a slice) and enhanced (one file), for tests alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR, ENHANCED_MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.2"
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
STUDY, FRAME_OF_REFERENCE = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame"])
T1_TIMES = {"EchoTime": 3.0, "RepetitionTime": 1900.0, "InversionTime": 900.0, "ScanningSequence": "GR"}
T2_TIMES = {"EchoTime": 90.0, "RepetitionTime": 4000.0, "ScanningSequence": "SE"}


def grid(spacing: tuple[float, float, float], degrees: float = 0.0) -> np.ndarray:
    """Return a voxel-to-world matrix (RAS) whose axes are turned about two axes of the world."""
    angle = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-1.0, -1.0, 1.0]) @ np.diag(spacing)
    affine[:3, 3] = (31.5, -12.25, 7.125)
    return affine


def volume(shape: tuple[int, int, int] = (7, 6, 12)) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 900, shape).astype(np.int16)


def write_series(folder: Path, voxels: np.ndarray, affine: np.ndarray, **header: Any) -> list[Path]:
    """Write [columns, rows, slices] int16 as a file a slice, their names in the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"SeriesInstanceUID": generate_uid(), **header}
    paths = []
    for k in range(voxels.shape[2]):
        dataset = _new(MR, header)
        where = _place(affine, k)
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing = where
        dataset.InstanceNumber = k + 1
        _put_pixels(dataset, voxels[:, :, k].T)
        paths.append(_save(dataset, folder / f"IM{k:04d}"))
    return paths


def write_enhanced(path: Path, voxels: np.ndarray, affine: np.ndarray, order: list[int], **header: Any) -> Path:
    """Write [columns, rows, slices] int16 as one multi-frame file, its frames in any order, every second rescaled."""
    dataset = _new(ENHANCED_MR, header)
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = _one(PixelSpacing=_place(affine, 0)[2], SliceThickness=2.0)
    shared.PlaneOrientationSequence = _one(ImageOrientationPatient=_place(affine, 0)[1])
    shared.MREchoSequence = _one(EffectiveEchoTime=90.0)
    shared.MRTimingAndRelatedParametersSequence = _one(RepetitionTime=4000.0)
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = _one(ImagePositionPatient=_place(affine, k)[0])
        frame.FrameContentSequence = _one(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[k + 1])
        frame.PixelValueTransformationSequence = _one(RescaleSlope=1 + k % 2, RescaleIntercept=0, RescaleType="US")
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.NumberOfFrames = len(order)
    organization = generate_uid()
    dataset.DimensionOrganizationSequence = _one(DimensionOrganizationUID=organization)
    dataset.DimensionIndexSequence = _one(
        DimensionOrganizationUID=organization, DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111
    )
    _put_pixels(dataset, np.stack([voxels[:, :, k].T for k in order]))
    path.parent.mkdir(parents=True, exist_ok=True)
    return _save(dataset, path)


def _new(sop_class: str, header: dict[str, Any]) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, generate_uid()
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE
    dataset.Modality, dataset.PatientName, dataset.PatientID = "MR", "Doe^Jane", "QX1234"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "F"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20200101", "101010", "1", ""
    dataset.ReferringPhysicianName, dataset.PositionReferenceIndicator, dataset.Manufacturer = "", "", "phantom"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 1, 1, ""
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    return dataset


def _place(affine: np.ndarray, k: int) -> tuple[list[float], list[float], list[float]]:
    lps = TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :2], axis=0)
    axes = lps[:3, :2] / spacing
    position = lps[:3, 3] + k * lps[:3, 2]
    short = [[float(f"{x:.9g}") for x in values] for values in (position, axes.T.ravel(), spacing[::-1])]
    return short[0], short[1], short[2]


def _one(**values: Any) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _put_pixels(dataset: Dataset, values: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = np.ascontiguousarray(values).astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"


def _save(dataset: Dataset, path: Path) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, "1.2.826.0.1.3680043.8.498.1"
    meta.FileMetaInformationVersion = b"\x00\x01"
    whole = FileDataset(
        str(path), dataset, preamble=bytes(128), file_meta=meta, is_implicit_VR=False, is_little_endian=True
    )
    whole.save_as(str(path))
    return path
