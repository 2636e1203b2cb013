"""The grids that preprocessed scans are written on."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from scripts.errors import InputError
from scripts.transforms.working_grid import TEMPLATE_CENTER_MM

__all__ = ["OutputGrid", "output_grid"]


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
    """
    if name not in list(OutputGrid):
        raise InputError(f"`grid` must be one of {', '.join(OutputGrid)}, got {name!r}")
    return _GRIDS[OutputGrid(name)]
