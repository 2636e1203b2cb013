"""Which files of a folder are DICOM, which belong together as a series, and the voxels that each holds."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scripts.errors import InputError

__all__ = ["DicomSeries", "find_series", "is_dicom", "load_pydicom", "read_dataset", "series_of", "stored_values"]

_MAGIC, _PREAMBLE = b"DICM", 128
_GROUPING = ["SeriesInstanceUID", "NumberOfFrames", "SOPClassUID"]


@dataclass(frozen=True, kw_only=True)
class DicomSeries:
    """A series in one folder.

    Attributes:
        files: its files, sorted by path.
        num_images: slices, those of multi-frame files among them.
        header: data set of the first file, without voxels.
    """

    files: tuple[Path, ...]
    num_images: int
    header: Any

    def text(self, keyword: str) -> str:
        """Return an attribute of the header as text; empty where it has none."""
        return str(self.header.get(keyword, None) or "").strip()

    @property
    def number(self) -> str:
        """The series number as the scanner gave it, or empty."""
        return self.text("SeriesNumber")

    @property
    def description(self) -> str:
        """What the scanner calls the series; the protocol's name where it has no other."""
        return self.text("SeriesDescription") or self.text("ProtocolName")


def is_dicom(path: Path) -> bool:
    """Return whether a file holds DICOM by its first bytes, whatever its name is."""
    try:
        with path.open("rb") as stream:
            stream.seek(_PREAMBLE)
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def find_series(folder: Path) -> list[DicomSeries]:
    """Return the series in a folder and its sub-folders, by folder and series number; hidden files are left out.

    The files of a series are those of one folder with the same series UID.

    Raises:
        InputError: if pydicom is not installed or a file is damaged.
    """
    paths: list[Path] = []
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return _group(path for path in paths if is_dicom(path))


def series_of(path: Path) -> DicomSeries:
    """Return the series that a file belongs to: all files of its folder with the same series UID.

    Raises:
        InputError: if pydicom is not installed, a file is damaged, or this one belongs to no series.
    """
    for series in _group(sorted(other for other in path.parent.iterdir() if other.is_file() and is_dicom(other))):
        if path in series.files:
            return series
    raise InputError("is DICOM, but no image of a series", path=path, fix="Name the folder with the series' files")


def load_pydicom(path: Path) -> ModuleType:
    """Return pydicom, which takes its time to load and is needed for DICOM alone.

    Args:
        path: the file that it is needed for, for the message.

    Raises:
        InputError: if it is not installed.
    """
    try:
        return importlib.import_module("pydicom")
    except ImportError:
        raise InputError("is DICOM, which needs pydicom", path=path, fix="`pip install pydicom highdicom`") from None


def read_dataset(path: Path, *, voxels: bool = False, only: Sequence[str] | None = None) -> Any:
    """Return the data set of a file.

    Args:
        path: the file.
        voxels: whether to read them too.
        only: keywords of the attributes to read; None reads all.

    Raises:
        InputError: if pydicom is not installed or the file is damaged.
    """
    pydicom = load_pydicom(path)
    try:
        return pydicom.dcmread(path, stop_before_pixels=not voxels, specific_tags=None if only is None else list(only))
    except (OSError, EOFError, ValueError, NotImplementedError, AttributeError, pydicom.errors.InvalidDicomError) as e:
        raise InputError(f"cannot be read as DICOM ({e})", path=path, fix="Export the series again") from e


def _group(paths: Iterable[Path]) -> list[DicomSeries]:
    groups: dict[tuple[Path, str], list[tuple[Path, int]]] = {}
    for path in paths:
        head = read_dataset(path, only=_GROUPING)
        uid = str(head.get("SeriesInstanceUID", None) or "")
        if uid:  # a DICOMDIR has none
            groups.setdefault((path.parent, uid), []).append((path, int(head.get("NumberOfFrames", None) or 1)))
    found = []
    for members in groups.values():
        files = tuple(path for path, _ in members)
        num_images = sum(count for _, count in members)
        found.append(DicomSeries(files=files, num_images=num_images, header=read_dataset(files[0])))
    return sorted(found, key=lambda series: (series.files[0].parent, int(series.number or 0), series.files[0]))


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
    except (ValueError, AttributeError, RuntimeError) as error:
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
