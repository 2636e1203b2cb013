"""Axis-aligned grids in MNI world, and masks brought onto the grid of their image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scripts.errors import InputError, check_choice
from scripts.scans.volume import grid_of, source_path

__all__ = [
    "TEMPLATE_CENTER_MM",
    "OutputGrid",
    "grid_affine",
    "is_same_grid",
    "on_grid_of",
    "output_grid",
    "share_inside",
]

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


logger = logging.getLogger(__name__)
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
