"""A DICOM series as one volume: slices in the units of the header, sorted by where they lie, none missing or twice."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scripts.errors import InputError

__all__ = [
    "DicomSeries",
    "DicomVolume",
    "Frame",
    "attribute",
    "check_modality",
    "find_series",
    "is_dicom",
    "load_pydicom",
    "read_dataset",
    "read_dicom",
    "read_frames",
    "series_of",
    "stored_values",
]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice.

    Attributes:
        path: its file.
        index: its place in that file, from 0 on.
        position: centre of its first voxel, LPS, mm [3].
        axes: unit vectors along a row and along a column, LPS [2, 3].
        spacing: from row to row and from column to column, mm [2].
        values: [rows, columns], rescaled as the header says; integer where that changes nothing.
        echo_time: ms, or None.
    """

    path: Path
    index: int
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    spacing: NDArray[np.float64]
    values: NDArray
    echo_time: float | None


def attribute(dataset: Any, group: str, keyword: str, *, frame: int = 0) -> Any:
    """Return an attribute of a slice, from the functional groups of a multi-frame file or from the data set itself.

    Args:
        dataset: of pydicom.
        group: keyword of the functional group, such as `PlanePositionSequence`.
        keyword: of the attribute.
        frame: which slice of the file.

    Returns:
        Its value; None where it is absent or empty.
    """
    per_frame, shared = (
        dataset.get(name, None) or [] for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    )
    for holder in (*per_frame[frame : frame + 1], *shared[:1]):
        items = holder.get(group, None) or []
        value = items[0].get(keyword, None) if items else None
        if value not in (None, ""):
            return value
    value = dataset.get(keyword, None)
    return None if value == "" else value


def read_frames(path: Path) -> Iterator[Frame]:
    """Yield the slices of one file.

    Raises:
        InputError: if the file is damaged, or does not say where a slice lies.
    """
    dataset = read_dataset(path, voxels=True)
    for index, stored in enumerate(stored_values(dataset, path)):
        position = _numbers(dataset, "PlanePositionSequence", "ImagePositionPatient", index, path, size=3)
        axes = _numbers(dataset, "PlaneOrientationSequence", "ImageOrientationPatient", index, path, size=6)
        spacing = _numbers(dataset, "PixelMeasuresSequence", "PixelSpacing", index, path, size=2)
        echo = attribute(dataset, "MREchoSequence", "EffectiveEchoTime", frame=index) or dataset.get("EchoTime", None)
        yield Frame(
            path=path,
            index=index,
            position=position,
            axes=axes.reshape(2, 3),
            spacing=spacing,
            values=_rescaled(stored, dataset, index),
            echo_time=float(echo) if echo else None,
        )


def _numbers(dataset: Any, group: str, keyword: str, frame: int, path: Path, *, size: int) -> NDArray[np.float64]:
    value = attribute(dataset, group, keyword, frame=frame)
    numbers = np.array([] if value is None else [float(part) for part in value])
    if numbers.size != size or not np.isfinite(numbers).all():
        what = f"does not say where its slices lie ({keyword} is missing or incomplete)"
        raise InputError(what, path=path, fix="Export the series as it was acquired, or give it as NIfTI")
    return numbers


def _rescaled(stored: NDArray, dataset: Any, frame: int) -> NDArray:
    group = "PixelValueTransformationSequence"
    slope = float(attribute(dataset, group, "RescaleSlope", frame=frame) or 1)
    intercept = float(attribute(dataset, group, "RescaleIntercept", frame=frame) or 0)
    if slope == 1 and intercept == 0:
        return stored
    return (stored * slope + intercept).astype(np.float32)


_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM's world is LPS, that of NIfTI RAS
_TURN = 1e-3  # of unit vectors: headers round
_UNEVEN = 0.1  # share of the slice distance by which a slice may lie elsewhere
_MISSING = 1.5  # slice distances at which one is missing
_CHOOSE = "Choose another series with --series, or export this one again"


@dataclass(frozen=True, kw_only=True)
class DicomVolume:
    """A series as a volume.

    Attributes:
        voxels: [columns, rows, slices], rescaled as the headers say.
        affine: voxel to world, RAS, mm [4, 4]; its determinant is positive.
        frames: file and place in it of each slice, in the order of the last axis.
    """

    voxels: NDArray
    affine: NDArray[np.float64]
    frames: tuple[tuple[Path, int], ...]


def read_dicom(path: Path) -> DicomVolume:
    """Read the series that a file belongs to, classic (a file a slice) or enhanced (a file of many slices).

    Slices are sorted along their normal, whatever their files' order.

    Args:
        path: any file of the series.

    Raises:
        InputError: if the series is no MR, is damaged, has a slice missing or twice, or its slices are not parallel,
            of one size and evenly spaced.
    """
    series = series_of(path)
    check_modality(series)
    if "MOSAIC" in series.text("ImageType"):
        raise InputError("holds mosaics of a functional series", path=path, fix=_CHOOSE)
    frames = [frame for file in series.files for frame in read_frames(file)]
    _check_parallel(frames, path)
    normal = np.cross(*frames[0].axes)
    frames.sort(key=lambda frame: float(frame.position @ normal))
    step = _check_steps(frames, normal, path)
    matrix = np.eye(4)
    matrix[:3, 0] = frames[0].axes[0] * frames[0].spacing[1]
    matrix[:3, 1] = frames[0].axes[1] * frames[0].spacing[0]
    matrix[:3, 2] = step
    matrix[:3, 3] = frames[0].position
    return DicomVolume(
        voxels=np.stack([frame.values.T for frame in frames], axis=-1),
        affine=_TO_RAS @ matrix,
        frames=tuple((frame.path, frame.index) for frame in frames),
    )


def check_modality(series: DicomSeries) -> None:
    """Check that a series is MR.

    Raises:
        InputError: naming what it is.
    """
    modality = series.text("Modality")
    if modality != "MR":
        what = f"the series {series.description!r} is {modality or 'of no modality'}; only MR can be analysed"
        fix = "The network has learnt T1- and T2-weighted MR alone: name such a series"
        raise InputError(what, path=series.files[0], fix=fix)


def _check_parallel(frames: Sequence[Frame], path: Path) -> None:
    first = frames[0]
    if len(frames) < 2:
        what = "the series has one slice in this folder"
        raise InputError(what, path=path, fix="Put all files of the series into one folder")
    if any(np.abs(frame.axes - first.axes).max() > _TURN for frame in frames):
        raise InputError("its slices are not parallel, as in a localizer", path=path, fix=_CHOOSE)
    alike = (f.values.shape == first.values.shape and np.allclose(f.spacing, first.spacing, rtol=1e-3) for f in frames)
    if not all(alike):
        raise InputError("its slices differ in size", path=path, fix=_CHOOSE)


def _check_steps(frames: Sequence[Frame], normal: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Return the vector from slice to slice, LPS, mm."""
    heights = np.array([float(frame.position @ normal) for frame in frames])
    gaps = np.diff(heights)
    places = len(np.unique(np.round(heights, 3)))
    if places < len(frames):
        echoes = sorted({frame.echo_time for frame in frames if frame.echo_time is not None})
        more = f", with echo times of {', '.join(f'{echo:g}' for echo in echoes)} ms" if len(echoes) > 1 else ""
        what = f"it holds {len(frames)} slices at {places} positions{more}: more than one volume, or copies of files"
        raise InputError(what, path=path, fix="Put the files of one volume into a folder of their own")
    usual = float(np.median(gaps))
    largest = int(gaps.argmax())
    if gaps[largest] > _MISSING * usual:
        after, before = (frames[index].path.name for index in (largest, largest + 1))
        missing = round(float(gaps[largest]) / usual) - 1
        what = (
            f"{missing} slice(s) missing between {after} and {before} ({gaps[largest]:.2f} mm instead of {usual:.2f})"
        )
        raise InputError(what, path=path, fix="Export the series again, with all its files")
    step = (frames[-1].position - frames[0].position) / (len(frames) - 1)
    straight = frames[0].position + np.arange(len(frames))[:, None] * step
    off = np.linalg.norm(np.array([frame.position for frame in frames]) - straight, axis=1)
    if off.max() > _UNEVEN * usual or np.abs(gaps - usual).max() > _UNEVEN * usual:
        what = f"its slices are not evenly spaced (from {gaps.min():.2f} to {gaps.max():.2f} mm)"
        raise InputError(what, path=path, fix=_CHOOSE)
    return np.asarray(step, dtype=np.float64)


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
