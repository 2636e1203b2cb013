"""The lesions of a mask, one row each."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.measure import label, regionprops

__all__ = ["lesion_table"]


def lesion_table(
    mask: np.ndarray, anomaly_map: np.ndarray, affine: np.ndarray, *, world_to_template: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Describe each connected lesion, largest first.

    Args:
        mask: [H, W, D], above 0 inside lesions; voxels that share a face, edge or corner belong together.
        anomaly_map: [H, W, D].
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
        world_to_template: [4, 4], scanner's world to MNI152, mm; None leaves the MNI centroid out.

    Returns:
        A dict a lesion: `label` (1 for the largest), `volume_ml`, `centroid_mm` (scanner), `centroid_mni_mm`, `peak`
        and `mean` of the map.
    """
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    regions = regionprops(label(mask > 0, connectivity=3), intensity_image=anomaly_map)
    rows = []
    for number, region in enumerate(sorted(regions, key=lambda region: -region.area), start=1):
        world = affine @ [*region.centroid, 1.0]
        row = {"label": number, "volume_ml": float(region.area * voxel_ml), "centroid_mm": _rounded(world)}
        if world_to_template is not None:
            row["centroid_mni_mm"] = _rounded(world_to_template @ world)
        rows.append({**row, "peak": float(region.intensity_max), "mean": float(region.intensity_mean)})
    return rows


def _rounded(point: np.ndarray) -> list[float]:
    return [round(float(x), 2) for x in point[:3]]
