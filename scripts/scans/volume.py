"""A scan's image as an array on one scale, with the notes that steps leave, and as files on its grid."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor, NibabelWriter
from monai.transforms import LoadImage
from numpy.typing import NDArray
from scipy import ndimage
from scripts.errors import InputError
from scripts.files import replacing
from scripts.scans.reader import ScanReader, unit_mm

__all__ = [
    "NOTES_KEY",
    "SAVED_IMAGES",
    "AtomicNibabelWriter",
    "add_note",
    "as_volume",
    "background_value",
    "fill_background",
    "grid_of",
    "inferer_outputs",
    "normalized",
    "original_scan",
    "read_notes",
    "save_volume",
    "scale_exponent",
    "source_path",
]

_TOP = 1024.0  # the brightest tissue comes to lie between half of this and this
_DARKEST, _BRIGHTEST = 0.1, 99.9  # percentiles
_FEW = 0.05  # of the tissue's voxels: splines leave traces as wide as a brain
_TRACES = 0.01  # of the 99th percentile: what interpolation leaves around a stripped brain


def background_value(volume: NDArray) -> float | None:
    """Return the value of a scan's constant background, or None where there is none, as in noise.

    It is the value that most voxels on the image's faces have, if most of them have it. A brain that fills the field of
    view from front to back leaves the other faces.

    Args:
        volume: [H, W, D].
    """
    faces = _faces(volume)
    values, counts = np.unique(faces, return_counts=True)
    most = int(np.argmax(counts))
    return float(values[most]) if counts[most] > faces.size / 2 else None


def fill_background(volume: NDArray) -> NDArray:
    """Return a scan with a number where its background is NaN: 0, or the lowest value where that is below 0.

    NaN counts as background where it reaches the image's faces. What lies within the head stays NaN, for others to
    refuse; a scan without any number stays as it is.

    Args:
        volume: [H, W, D], of a floating type.
    """
    missing = np.isnan(volume)
    if not missing.any() or missing.all():
        return volume
    labels, _ = ndimage.label(missing)
    outside = np.isin(labels, np.setdiff1d(np.unique(_faces(labels)), [0]))
    finite = volume[np.isfinite(volume)]
    return np.where(outside, min(0.0, float(finite.min())) if finite.size else 0.0, volume).astype(volume.dtype)


def normalized(volume: NDArray) -> NDArray[np.float32]:
    """Return a scan with its background at 0 and its brightest tissue between 512 and 1024.

    A constant background is what the image's faces show; where they show noise, the darkest thousandth of the voxels
    takes its place. Tissue that reaches below a constant background, as in scans that were standardised inside of the
    brain, is lifted above it. The scale is a power of 2: it changes no digit of what it scales, so that a scan whose
    background is 0 gives the same results as without this step.

    Args:
        volume: [H, W, D], finite.
    """
    image = np.asarray(volume, dtype=np.float32)
    background = background_value(image)
    if background is None:
        image = image - np.float32(np.percentile(image, _DARKEST))
    else:
        image = _lifted(image - np.float32(background))
    return np.ldexp(image, scale_exponent(image))


def scale_exponent(volume: NDArray) -> int:
    """Return the power of 2 that brings the 99.9th percentile of the size of the voxels that are not 0 near 1024.

    Args:
        volume: any shape, finite; 0 for an image without any other value.

    Examples:
        >>> scale_exponent(np.array([0.0, 3.0]))  # 3 · 2⁸ = 768
        8
    """
    sizes = np.abs(volume[volume != 0])
    top = float(np.percentile(sizes, _BRIGHTEST)) if sizes.size else 0.0
    return int(np.floor(np.log2(_TOP / top))) if top > 0 else 0


def _lifted(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image whose background is 0 with its tissue above that, where it reaches far below."""
    if not (image < 0).any():
        return image
    tissue = _tissue(image)
    lowest = float(np.percentile(image[tissue], _DARKEST))
    span = float(np.percentile(image[tissue], _BRIGHTEST)) - lowest
    if np.percentile(image[tissue], 1) > -_TRACES * span:
        return image  # traces of interpolation
    return np.where(tissue, np.maximum(image - lowest, 0) + _TRACES * span, 0).astype(np.float32)


def _tissue(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return what is no background in an image whose background is 0, without the traces of interpolation around it.

    Some tissue of a standardised brain is almost as bright as its background. It counts where there are so few such
    voxels that none are traces, or else where clearer tissue encloses it.
    """
    sizes = np.abs(image)
    clear = sizes > _TRACES * np.percentile(sizes[sizes > 0], 99)
    traces = np.count_nonzero(sizes) - np.count_nonzero(clear)
    return sizes > 0 if traces < _FEW * np.count_nonzero(clear) else ndimage.binary_fill_holes(clear)


def _faces(volume: NDArray) -> NDArray:
    return np.concatenate([np.take(volume, index, axis).ravel() for axis in range(3) for index in (0, -1)])


NOTES_KEY = "notes"


def read_notes(data: Mapping[Any, Any]) -> dict[str, dict[str, Any]]:
    """Return the notes of a case: a dict of facts for each step that left some, empty where none did."""
    return json.loads(data.get(NOTES_KEY) or "{}")


def add_note(data: dict[Any, Any], step: str, **facts: Any) -> None:
    """Add facts to a step's note of a case, in place.

    Args:
        data: the dict of one case.
        step: name of the step, such as `brain_extraction`.
        **facts: what JSON can hold: text, numbers, truth values, None, lists and dicts of these.

    Raises:
        TypeError: if a fact is nothing that JSON can hold.
    """
    notes = read_notes(data)
    notes.setdefault(step, {}).update(facts)
    data[NOTES_KEY] = json.dumps(notes)


def source_path(image: torch.Tensor) -> Path | None:
    """Return the file that `image` was loaded from, if its metadata say."""
    name = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    return Path(name) if isinstance(name, (str, Path)) else None


def as_float32(image: torch.Tensor) -> np.ndarray:
    """Return `image` as a float32 array on the CPU."""
    return np.asarray(torch.as_tensor(image).cpu(), dtype=np.float32)


def as_volume(image: torch.Tensor) -> np.ndarray:
    """Return [1, H, W, D] as an array [H, W, D], float32."""
    return np.asarray(torch.as_tensor(image).detach().cpu(), dtype=np.float32)[0]


def grid_of(image: torch.Tensor) -> np.ndarray:
    """Return voxel to world [4, 4], mm, of an image; the identity where it knows none."""
    return np.asarray(image.affine if isinstance(image, MetaTensor) else np.eye(4), dtype=np.float64)


def original_scan(image: torch.Tensor) -> np.ndarray:
    """Return the scan [H, W, D] as its file holds it, float32, or `image` itself where it has no file.

    A background of NaN is filled.
    """
    path = source_path(image)
    if path is None:
        return as_volume(image)
    return fill_background(as_volume(LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)(path)))


class AtomicNibabelWriter(NibabelWriter):
    """Write NIfTI to a temporary name in the same folder, made if missing, then rename it."""

    def write(self, filename: str | os.PathLike, verbose: bool = False, **obj_kwargs: Any) -> None:
        """Write the image; a file of that name is replaced only when the new one is complete."""
        with replacing(filename) as temporary:
            super().write(temporary, verbose=verbose, **obj_kwargs)


SAVED_IMAGES = ("anomaly_map", "lesion_mask", "mahalanobis_map", "reconstruction", "uncertainty", "brain_mask")
_FROM_INFERER = ("anomaly_map", "reconstruction", "mahalanobis_map", "uncertainty")
_MASKS = ("lesion_mask", "brain_mask", "change_dseg")  # and other volumes of whole numbers


def inferer_outputs(save: list[str] | tuple[str, ...] | str) -> list[str]:
    """Return the channels that the inferer must give for the images that a user wants.

    Args:
        save: some of `SAVED_IMAGES`.

    Raises:
        InputError: if one is unknown.
    """
    wanted = [save] if isinstance(save, str) else list(save)
    unknown = [name for name in wanted if name not in SAVED_IMAGES]
    if unknown:
        raise InputError(f"`save` must be some of {list(SAVED_IMAGES)}, got {unknown}.")
    return [name for name in _FROM_INFERER if name in wanted or name in ("anomaly_map", "reconstruction")]


def save_volume(path: Path, image: torch.Tensor, *, name: str) -> None:
    """Write an image [1, H, W, D] as NIfTI, masks as uint8 and all else as float32, never half.

    The file has the unit of length of the scan that the image was made from.
    """
    voxels = np.asarray(torch.as_tensor(image).detach().cpu())[0]
    voxels = voxels.astype(np.uint8 if name in _MASKS else np.float32, copy=False)
    code = image.meta.get("xyzt_units") if isinstance(image, MetaTensor) else None
    scale = 1 / unit_mm(code)
    file = nib.Nifti1Image(voxels, np.diag([scale, scale, scale, 1.0]) @ grid_of(image))
    file.header.set_xyzt_units("mm" if scale == 1 else int(str(code)) & 7)
    with replacing(path) as temporary:
        nib.save(file, temporary)
