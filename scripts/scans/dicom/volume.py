"""A DICOM series as one volume: slices sorted by where they lie, with none missing and none twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.scans.dicom.frames import Frame, read_frames
from scripts.scans.dicom.series import DicomSeries, series_of

__all__ = ["DicomVolume", "check_modality", "read_dicom"]

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
