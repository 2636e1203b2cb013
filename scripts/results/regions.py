"""The candidate regions of a mask: one row each, ranked, and the smallest of them left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from scripts.errors import InputError

__all__ = ["check_min_volume", "region_table", "without_small_regions"]

_ALL_NEIGHBOURS = 3  # voxels that share a face, edge or corner belong together


def region_table(
    mask: np.ndarray,
    anomaly_map: np.ndarray,
    affine: np.ndarray,
    *,
    threshold: float = 0.0,
    world_to_template: np.ndarray | None = None,
    place_of: Callable[[NDArray[np.float64]], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Describe each connected region of a mask, that with most evidence first.

    The evidence of a region is the map's excess over the threshold summed over its volume,
    Σ (map − threshold) · voxel volume = volume_ml · (mean − threshold): a large faint region and a small strong one
    can weigh the same. Equal regions stay in the order of their voxels.

    Args:
        mask: [H, W, D], above 0 inside regions; voxels that share a face, edge or corner belong together.
        anomaly_map: [H, W, D].
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
        threshold: of the map, which made the mask.
        world_to_template: [4, 4], scanner's world to MNI152, mm; None leaves out what needs it.
        place_of: says where points [N, 3] (MNI152, mm) lie; its entries join the row. Needs `world_to_template`.

    Returns:
        A dict a region: `rank` (1 for the most evidence), `volume_ml` (of the scan's own voxels), `peak` and `mean` of
        the map, `evidence` (ml), `peak_mm` (the voxel with the highest map, which lies inside the region; scanner),
        `centroid_mm` (may lie outside of a curved region), and `peak_mni_mm` and `centroid_mni_mm`.
    """
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    regions = regionprops(label(mask > 0, connectivity=_ALL_NEIGHBOURS), intensity_image=anomaly_map)
    rows = []
    for region in regions:
        values = anomaly_map[tuple(region.coords.T)]
        volume, mean = float(region.area * voxel_ml), float(region.intensity_mean)
        peak = affine @ [*region.coords[int(values.argmax())], 1.0]
        centroid = affine @ [*region.centroid, 1.0]
        row: dict[str, Any] = {"volume_ml": volume, "peak": float(region.intensity_max), "mean": mean}
        row |= {"evidence": volume * (mean - threshold), "peak_mm": _rounded(peak), "centroid_mm": _rounded(centroid)}
        if world_to_template is not None:
            row["peak_mni_mm"] = _rounded(world_to_template @ peak)
            row["centroid_mni_mm"] = _rounded(world_to_template @ centroid)
            row |= place_of(_moved(region.coords, world_to_template @ affine)) if place_of is not None else {}
        rows.append(row)
    rows.sort(key=lambda row: -row["evidence"])
    return [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)]


def check_min_volume(value: float | None) -> float:
    """Return the smallest volume of a region, ml; None is 0.

    Raises:
        InputError: if it is no finite number at or above 0.
    """
    volume = 0.0 if value is None else value
    if isinstance(volume, bool) or not isinstance(volume, int | float) or not 0 <= volume < math.inf:
        raise InputError(f"`min_volume_ml` must be a number at or above 0, got {value!r}")
    return float(volume)


def without_small_regions(mask: np.ndarray, affine: np.ndarray, *, min_volume_ml: float) -> NDArray[np.bool_]:
    """Return a mask without its regions below a volume; one of exactly that volume stays.

    Args:
        mask: [H, W, D], above 0 inside regions; voxels that share a face, edge or corner belong together.
        affine: [4, 4], voxel to world, mm; it gives the voxels' volume.
        min_volume_ml: 0 keeps every region.

    Returns:
        Bool [H, W, D].
    """
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    labels = label(mask > 0, connectivity=_ALL_NEIGHBOURS)
    # a thousandth of a voxel of tolerance, as the volume comes from floating point
    kept = np.bincount(labels.ravel()) * voxel_ml >= min_volume_ml - 1e-3 * voxel_ml
    kept[0] = False
    return kept[labels]


def _moved(voxels: NDArray[np.int_], matrix: np.ndarray) -> NDArray[np.float64]:
    return np.asarray(voxels @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def _rounded(point: np.ndarray) -> list[float]:
    return [round(float(x), 2) for x in point[:3]]
