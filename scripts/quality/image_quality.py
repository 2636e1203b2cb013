"""Numbers that tell a usable brain scan from one that is cut off, noisy, saturated or no image at all. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "brain_extents",
    "brightness_range",
    "brightness_span",
    "end_sections",
    "noise_ratio",
    "nonuniformity",
    "saturated_share",
    "spike_ratio",
    "voxel_edges",
]

IMMERKAER_GAIN = 6.0  # a mask of 1 −2 1 along two axes makes white noise 6 times as strong
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MIN_BLOCK_VOXELS = 20


def voxel_edges(affine: NDArray) -> NDArray[np.float64]:
    """Return the lengths [3] of a voxel's edges in mm from its voxel-to-world matrix [4, 4]."""
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)


def _sections(mask: NDArray) -> list[NDArray[np.int64]]:
    """Return how many voxels each slice across each axis holds."""
    return [np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]


def brain_extents(mask: NDArray) -> tuple[int, int, int]:
    """Return how many slices across each axis hold a voxel of a mask [H, W, D]."""
    first, second, third = (int(np.count_nonzero(section)) for section in _sections(mask))
    return first, second, third


def end_sections(mask: NDArray) -> NDArray[np.float64]:
    """Return how abruptly a mask ends: its cross-section at each end as a share of its largest across that axis.

    A brain that fits into the image tapers off; one that is cut ends with a large cross-section, whether at the border
    of the grid or at zeros that fill it up.

    Args:
        mask: [H, W, D], bool.

    Returns:
        [3, 2] in 0 to 1: first and last slice with a voxel across each axis; zeros for an empty mask.
    """
    ends = np.zeros((3, 2))
    for axis, section in enumerate(_sections(mask)):
        held = np.flatnonzero(section)
        if len(held):
            ends[axis] = section[held[[0, -1]]] / section.max()
    return ends


def brightness_range(values: NDArray) -> float:
    """Return the distance of the 5th and the 95th percentile of values [N]: neither an offset nor spikes change it."""
    low, high = np.percentile(values, [5, 95])
    return float(high - low)


def brightness_span(values: NDArray) -> float:
    """Return the range of values [N] over the height of their median above a background of 0; infinity if that is 0."""
    height = abs(float(np.median(values)))
    return brightness_range(values) / height if height > 0 else float("inf")


def noise_ratio(image: NDArray, mask: NDArray, edges: NDArray) -> float:
    """Estimate the noise in a mask as a share of the range between its 5th and 95th percentile.

    A second difference along both of the two axes with the finest voxels removes all that is linear there. What is
    left is taken as noise: its median absolute deviation, which edges between tissues change little. White noise and
    nothing else reaches 0.30, whatever its strength.

    Args:
        image: [H, W, D].
        mask: [H, W, D], bool.
        edges: voxel edges [3], mm.

    Returns:
        At least 0; infinity if the range is 0, and 0 if no voxel of the mask has all of its neighbours in it.

    References:
        Immerkær, Computer Vision and Image Understanding 64(2), 1996, doi:10.1006/cviu.1996.0060; here with the median
        absolute deviation instead of the mean.
    """
    scale = brightness_range(image[mask])
    if scale <= 0:
        return float("inf")
    rest, inside = np.asarray(image, dtype=np.float32), mask
    for axis in np.argsort(edges, kind="stable")[:2]:
        before, middle, after = (_cut(int(axis), part) for part in ((0, -2), (1, -1), (2, None)))
        rest = rest[before] - 2 * rest[middle] + rest[after]
        inside = inside[before] & inside[middle] & inside[after]
    values = rest[inside].astype(np.float64)
    if not values.size:
        return 0.0
    deviation = float(np.median(np.abs(values - np.median(values))))
    return MAD_TO_SIGMA * deviation / IMMERKAER_GAIN / scale


def _cut(axis: int, part: tuple[int, int | None]) -> tuple[slice, ...]:
    return tuple(slice(*part) if other == axis else slice(None) for other in range(3))


def saturated_share(values: NDArray) -> float:
    """Return which share (0 to 1) of the values [N] is equal to the largest one."""
    return float(np.mean(values == values.max()))


def spike_ratio(values: NDArray) -> float:
    """Return the largest value [N] over the 99th percentile, both counted from the median.

    Where the 99th percentile is the median itself it is infinite, or 1 if the largest value is that too.
    """
    middle, high = (float(value) for value in np.percentile(values, [50, 99]))
    largest = float(values.max())
    if high > middle:
        return (largest - middle) / (high - middle)
    return float("inf") if largest > middle else 1.0


def nonuniformity(image: NDArray, brain: NDArray, tissue: NDArray) -> float:
    """Return how unlike the eight blocks of one tissue are: (largest − smallest median) / the brain's range.

    The blocks are cut through the middle of the tissue; blocks with fewer than 20 voxels do not count.

    Args:
        image: [H, W, D].
        brain: where the brain is, [H, W, D], bool; its range is the distance of its 5th and 95th percentile.
        tissue: where the tissue is, [H, W, D], bool.

    Returns:
        At least 0; 0 if there are not two blocks or the range is 0.
    """
    position = np.argwhere(tissue)
    scale = brightness_range(image[brain]) if brain.any() else 0.0
    if not len(position) or scale <= 0:
        return 0.0
    block = (position > np.median(position, axis=0)) @ np.array([1, 2, 4])
    values = image[tissue]
    parts = [values[block == number] for number in range(8)]
    medians = [float(np.median(part)) for part in parts if part.size >= MIN_BLOCK_VOXELS]
    return (max(medians) - min(medians)) / scale if len(medians) > 1 else 0.0
