"""Axis-aligned grids of voxels in MNI world, and those that scans are worked on and written on."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import torch

from scripts.errors import InputError

__all__ = ["TEMPLATE_CENTER_MM", "OutputGrid", "grid_affine", "output_grid", "share_inside"]

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
    if name not in list(OutputGrid):
        raise InputError(f"`grid` must be one of {', '.join(OutputGrid)}, got {name!r}")
    return _GRIDS[OutputGrid(name)]
