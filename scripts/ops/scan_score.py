"""One number for a scan: how anomalous its most anomalous voxels are."""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.errors import InputError

__all__ = ["scan_score"]


def scan_score(anomaly_map: Tensor, brain_mask: Tensor, *, share: float = 0.01) -> float:
    """Average the highest values of an anomaly map inside the brain.

    Args:
        anomaly_map: any shape, finite inside the brain, higher is more anomalous.
        brain_mask: same shape, boolean or number; non-zero is brain.
        share: of the brain's voxels that are averaged, in (0, 1]; at least one voxel is.

    Returns:
        The mean, in the map's unit.

    Raises:
        InputError: when the shapes differ, the mask is empty or `share` is out of range.

    Examples:
        >>> import torch
        >>> scan_score(torch.arange(100.0), torch.ones(100), share=0.02)
        98.5
    """
    if anomaly_map.shape != brain_mask.shape:
        shapes = f"{tuple(anomaly_map.shape)}, got {tuple(brain_mask.shape)}"
        raise InputError(f"`brain_mask` must have the shape of `anomaly_map`, {shapes}")
    if not 0 < share <= 1:
        raise InputError(f"`share` must be above 0 and at most 1, got {share!r}")
    inside = torch.as_tensor(anomaly_map)[torch.as_tensor(brain_mask) > 0].flatten()
    if not inside.numel():
        raise InputError("`brain_mask` must hold at least one brain voxel, got none")
    return float(inside.double().topk(max(1, int(inside.numel() * share))).values.mean())
