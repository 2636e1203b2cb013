"""Bring a mask onto the grid of its image: the same shape alone does not make it the same grid."""

from __future__ import annotations

import logging

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from scripts.errors import InputError
from scripts.scans.grid import share_inside
from scripts.scans.volume import grid_of, source_path

__all__ = ["is_same_grid", "on_grid_of"]

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
        InputError: if the grids differ and the mask's header does not tell where it lies, or it lies elsewhere.
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
