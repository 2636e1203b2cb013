"""The voxels of a DICOM data set as they are stored, in whatever compression."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.scans.dicom.series import load_pydicom

__all__ = ["stored_values"]

_RLE = "1.2.840.10008.1.2.5"  # pydicom inflates this itself
_SECONDARY_CAPTURE = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.3")  # one frame, several frames
_PIXEL_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)


def stored_values(dataset: Any, path: Path) -> NDArray:
    """Return the voxels [frames, rows, columns] before any rescaling.

    Args:
        dataset: of pydicom, with voxels.
        path: its file, for the messages.

    Raises:
        InputError: if it has no voxels, holds colours, or is damaged.
    """
    if "PixelData" not in dataset:
        raise InputError("is DICOM without an image", path=path, fix="Name the folder of an image series")
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError("its voxels are colours, not numbers", path=path, fix="Choose the series as it was acquired")
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        inflated = syntax.is_encapsulated and syntax != _RLE
        values = _through_gdcm(dataset, path) if inflated else dataset.pixel_array
    except (ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"its voxels cannot be read ({reason})", path=path, fix="Export the series again") from error
    return values.reshape(-1, int(dataset.Rows), int(dataset.Columns))


def _through_gdcm(dataset: Any, source: Path) -> NDArray:
    """Inflate with SimpleITK's GDCM, from a file with the voxels alone: GDCM would rescale by rules of its own."""
    pydicom = load_pydicom(source)
    several = int(dataset.get("NumberOfFrames", 1) or 1) > 1
    bare = pydicom.Dataset()
    for keyword in _PIXEL_MODULE:
        if keyword in dataset:
            bare.add(dataset[keyword])
    meta = pydicom.dataset.FileMetaDataset()
    bare.SOPClassUID = meta.MediaStorageSOPClassUID = _SECONDARY_CAPTURE[several]
    bare.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    meta.FileMetaInformationVersion = b"\x00\x01"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "voxels.dcm")
        whole = pydicom.dataset.FileDataset(
            path, bare, preamble=bytes(128), file_meta=meta, is_implicit_VR=False, is_little_endian=True
        )
        whole.save_as(path)
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(path)))
