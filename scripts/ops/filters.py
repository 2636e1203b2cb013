"""Filters of scipy.ndimage as tensor operations, for volumes that are on a GPU and stay there."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["erode", "gaussian", "is_on_host", "median", "structural_similarity"]

_SLAB_VALUES = 2**27  # of a median's cubes at a time: 512 MiB in float32


def is_on_host(volume: Tensor) -> bool:
    """Return whether a tensor lies where scipy can read it, whose median, and scikit-image's SSIM, are faster there."""
    return volume.device.type == "cpu"


def gaussian(volumes: Tensor, sigma: float, *, truncate: float = 4.0) -> Tensor:
    """Blur the last three axes: `scipy.ndimage.gaussian_filter` with its `reflect` (mirrored, edge repeated).

    Each axis is multiplied by the banded matrix of its taps, in which those beyond the border are added where the
    mirror puts them, so that an axis may be shorter than the window.

    Args:
        volumes: `[..., S, H, W]`, floating.
        sigma: standard deviation in voxels, above 0.
        truncate: standard deviations that the window reaches.

    Returns:
        The same shape, dtype and device.
    """
    radius = int(truncate * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64, device=volumes.device)
    taps = torch.exp(-0.5 * (steps / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in (-3, -2, -1):
        size = volumes.shape[axis]
        matrix = torch.zeros(size, size, dtype=torch.float64, device=volumes.device)
        places = _mirrored(torch.arange(size, device=volumes.device)[:, None] + steps.long(), size)
        matrix.scatter_add_(1, places, taps.expand(size, -1))
        volumes = torch.tensordot(volumes, matrix.to(volumes.dtype), dims=([axis], [1])).movedim(-1, axis)
    return volumes.contiguous()


def _mirrored(places: Tensor, size: int) -> Tensor:
    """Bring places beyond an axis back into it: … b a | a b c | c b …."""
    places = places.remainder(2 * size)
    return torch.where(places < size, places, 2 * size - 1 - places)


def _padded(volume: Tensor, margin: int) -> Tensor:
    """Mirror `[S, H, W]` beyond its faces."""
    for axis, size in enumerate(volume.shape):
        places = torch.arange(-margin, size + margin, device=volume.device)
        volume = volume.index_select(axis, _mirrored(places, size))
    return volume


def median(volume: Tensor, size: int) -> Tensor:
    """Return the median of each voxel's cube: `scipy.ndimage.median_filter`, the same numbers.

    Args:
        volume: `[S, H, W]`.
        size: odd edge of the cube in voxels.
    """
    padded = _padded(volume, size // 2)
    result = torch.empty_like(volume)
    slab = max(1, _SLAB_VALUES // (volume[0].numel() * size**3))
    for first in range(0, len(volume), slab):
        cubes = padded[first : first + slab + size - 1]
        for axis in range(3):
            cubes = cubes.unfold(axis, size, 1)
        result[first : first + slab] = cubes.flatten(3).median(dim=-1).values
    return result


def erode(mask: Tensor, steps: int) -> Tensor:
    """Take so many layers off a mask, over the six face neighbours: `scipy.ndimage.binary_erosion`, `border_value=1`.

    Args:
        mask: bool `[S, H, W]`.
        steps: number of layers.
    """
    for _ in range(steps):
        found = mask.clone()
        for axis, size in enumerate(mask.shape):
            if size > 1:
                found.narrow(axis, 1, size - 1).logical_and_(mask.narrow(axis, 0, size - 1))
                found.narrow(axis, 0, size - 1).logical_and_(mask.narrow(axis, 1, size - 1))
        mask = found
    return mask


def structural_similarity(first: Tensor, second: Tensor, *, data_range: float, sigma: float, truncate: float) -> Tensor:
    """Compute scikit-image's `structural_similarity` with Gaussian windows and population variances, voxel by voxel.

    Args:
        first: `[S, H, W]`, floating; float64 where differences of squares should not cost digits.
        second: the same shape and dtype.
        data_range: dynamic range L of the unit.
        sigma: of the window, voxels.
        truncate: standard deviations that the window reaches.

    References:
        Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13.
    """
    parts = torch.stack([first, second, first * first, second * second, first * second])
    mean_1, mean_2, square_1, square_2, product = gaussian(parts, sigma, truncate=truncate)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    variances = (square_1 - mean_1 * mean_1) + (square_2 - mean_2 * mean_2)
    covariance = product - mean_1 * mean_2
    upper = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return upper / ((mean_1 * mean_1 + mean_2 * mean_2 + c1) * (variances + c2))
