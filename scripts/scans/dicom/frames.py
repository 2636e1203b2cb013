"""The slices of a DICOM series: where each lies, and its voxels in the units of the header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.scans.dicom.pixels import stored_values
from scripts.scans.dicom.series import read_dataset

__all__ = ["Frame", "attribute", "read_frames"]


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
