"""A scan's image as an array on one scale and on its grid, with the notes that steps leave, and as files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor, NibabelWriter
from monai.transforms import LoadImage
from numpy.typing import NDArray
from scipy import ndimage
from scipy.ndimage import affine_transform
from scripts.errors import InputError, check_choice
from scripts.files import replacing
from scripts.scans.reader import ScanReader, unit_mm

__all__ = [
    "NOTES_KEY",
    "SAVED_IMAGES",
    "TEMPLATE_CENTER_MM",
    "AtomicNibabelWriter",
    "OutputGrid",
    "add_note",
    "as_volume",
    "background_value",
    "fill_background",
    "grid_affine",
    "grid_of",
    "inferer_outputs",
    "is_same_grid",
    "normalized",
    "on_grid_of",
    "original_scan",
    "output_grid",
    "read_notes",
    "save_volume",
    "scale_exponent",
    "share_inside",
    "source_path",
]

logger = logging.getLogger(__name__)
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


TEMPLATE_CENTER_MM = (-1.0, -19.0, 7.0)


def grid_affine(center_mm: Sequence[float], size: Sequence[int], spacing_mm: float) -> np.ndarray:
    """Return the voxel-to-world matrix [4, 4] (RAS, mm) of an axis-aligned grid of `size` voxels around a centre.

    Examples:
        >>> grid_affine((0.0, 0.0, 0.0), (3, 3, 3), 2.0)[:3, 3].tolist()
        [-2.0, -2.0, -2.0]
    """
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = np.asarray(center_mm) - (np.asarray(size) - 1) / 2 * spacing_mm
    return affine


def share_inside(mask: torch.Tensor, affine: np.ndarray, grid: np.ndarray, size: Sequence[int]) -> float:
    """Return which share (0 to 1) of the mask's voxels has its centre inside a grid; 1 for an empty mask.

    Args:
        mask: [1, H, W, D]; voxels above 0 count.
        affine: voxel to world of the mask, mm.
        grid: voxel to world of the grid, mm.
        size: voxels of the grid.
    """
    brain = torch.as_tensor(mask[0]).cpu().numpy() > 0
    total = np.count_nonzero(brain)
    if total == 0:
        return 1.0
    to_grid = np.linalg.solve(grid, affine)
    for row, limit in zip(to_grid[:3], size, strict=True):
        # Only the axes that this coordinate depends on: one of three for an aligned scan, so no array of full size.
        position = row[3] + sum(
            step * index for step, index in zip(row[:3], np.ogrid[tuple(map(slice, brain.shape))], strict=True) if step
        )
        brain = brain & (position > -0.5) & (position < limit - 0.5)
    return np.count_nonzero(brain) / total


class OutputGrid(StrEnum):
    """MNI152 with voxels of 1 mm, as the published data, or the network's grid with voxels of 2 mm."""

    ONE_MM = "1mm"
    TWO_MM = "2mm"


# 182 x 218 x 182 voxels from (-91, -126, -72) mm on: the grid of MNI152 that the published sets have.
_GRIDS: dict[OutputGrid, dict[str, Any]] = {
    OutputGrid.ONE_MM: {"size": (182, 218, 182), "spacing_mm": 1.0, "center": (-0.5, -17.5, 18.5)},
    OutputGrid.TWO_MM: {"size": (96, 96, 80), "spacing_mm": 2.0, "center": TEMPLATE_CENTER_MM},
}


def output_grid(name: str) -> dict[str, Any]:
    """Return `size`, `spacing_mm` and `center` of a grid, as `ToWorkingGridd` takes them.

    Args:
        name: 1mm or 2mm.

    Raises:
        InputError: for any other name.

    Examples:
        >>> output_grid("1mm")["size"]
        (182, 218, 182)
    """
    return _GRIDS[check_choice(OutputGrid, name, "grid")]


_MAX_SHIFT = 0.1  # voxels, at the corners: headers round
_MIN_INSIDE = 0.99  # share of a mask's voxels that must lie in the field of view of its image
_DIGITS = 6  # of the matrix between two grids: axes that differ by their direction alone give whole numbers


def is_same_grid(shape: tuple[int, ...], affine: NDArray, other: NDArray) -> bool:
    """Return whether two voxel-to-world matrices put the corners of a grid into the same place, to a tenth of a voxel.

    Args:
        shape: [H, W, D], voxels.
        affine: voxel to world [4, 4], mm.
        other: the same of the other grid.
    """
    corners = np.array(np.meshgrid(*((0, size - 1) for size in shape), [1], indexing="ij")).reshape(4, -1)
    moved = np.linalg.solve(affine, other @ corners)
    return bool(np.abs(moved - corners).max() <= _MAX_SHIFT)


def on_grid_of(image: torch.Tensor, mask: torch.Tensor, *, name: str) -> torch.Tensor:
    """Return a mask or label on the grid of its image, resampled to the nearest voxel by the affines where they differ.

    Args:
        image: MetaTensor [1, H, W, D].
        mask: MetaTensor [1, H', W', D']; returned as it is where it lies on the grid already.
        name: what the mask is called, for the messages.

    Raises:
        InputError: if the grids differ and the mask's header does not say where it lies, or it lies elsewhere.
    """
    if not isinstance(image, MetaTensor) or not isinstance(mask, MetaTensor) or mask.shape[0] != 1:
        return mask
    target, source = grid_of(image), grid_of(mask)
    shape = tuple(image.shape[1:])
    if mask.shape == image.shape and is_same_grid(shape, target, source):
        return mask
    path = source_path(mask)
    fix = f"Give `{name}` on the grid of its image, or correct its header (`fslcpgeom` copies that of the scan)"
    if mask.meta.get("header_problems"):
        what = f"`{name}` lies on another grid than its image, and its header does not say where"
        raise InputError(f"{what} ({mask.meta['header_problems']})", path=path, fix=fix)
    inside = share_inside(mask, source, target, shape)
    if inside < _MIN_INSIDE:
        what = f"`{name}` lies elsewhere than its image: {100 * inside:.0f} % of it is in the field of view"
        raise InputError(f"{what} of {source_path(image)}", path=path, fix=fix)
    to_mask = np.round(np.linalg.solve(source, target), _DIGITS)
    voxels = np.asarray(torch.as_tensor(mask[0]).cpu())
    moved = affine_transform(voxels, to_mask, output_shape=shape, order=0, mode="grid-constant", cval=0)
    logger.info("%s: `%s` was brought onto the grid of its image by the headers.", path or name, name)
    return _like(mask, moved, image)


def _like(mask: MetaTensor, voxels: NDArray, image: MetaTensor) -> MetaTensor:
    """Return voxels as a MetaTensor with the metadata of the mask and the place of the image."""
    meta = {**mask.meta, "spatial_shape": np.asarray(voxels.shape), "original_affine": grid_of(image)}
    return MetaTensor(torch.as_tensor(voxels[None]), meta={**meta, "affine": image.affine.clone()})
