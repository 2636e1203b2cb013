"""The numbers of quality control, from a brain-only scan and the affine that takes it to the template."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter
from scripts.registration.fit import placed_quality
from scripts.registration.register import MIN_VOXELS, place, prepare_scan
from scripts.registration.template import load_template, load_tissues

__all__ = [
    "MIN_VOXELS",
    "TissueFit",
    "brain_extents",
    "brightness_range",
    "brightness_span",
    "end_sections",
    "measure_on_template",
    "measure_scan",
    "noise_ratio",
    "nonuniformity",
    "saturated_share",
    "spike_ratio",
    "tissue_fit",
    "voxel_edges",
]

IMMERKAER_GAIN = 6.0  # a mask of 1 −2 1 along two axes makes white noise 6 times as strong
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MIN_BLOCK_VOXELS = 20


def voxel_edges(affine: NDArray) -> NDArray[np.float64]:
    """Return the lengths [3] of a voxel's edges in mm from its voxel-to-world matrix [4, 4].

    Examples:
        >>> voxel_edges(np.diag([1.0, 1.0, 5.0, 1.0])).tolist()
        [1.0, 1.0, 5.0]
    """
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


BLOCK_VOXELS = 8  # 16 mm: holds sulcus, cortex and white matter; a lesion leaves most blocks alone
MIN_BLOCK_SHARE = 0.5  # of a block that must be brain
MIN_BLOCKS = 20  # an adult's brain has 440
MIN_TISSUE_VOXELS = 20  # of each tissue, in a block where grey and white matter are compared
SIGMA_VOXELS = 1.0  # evens out noise and the sulci that an affine leaves apart
DROPPED_SHARE = 1 / 3  # of the blocks, those that fit worst
TELLING_SHARE = 1 / 2  # of the blocks, those where the share of fluid varies most
GREY_SHARE, WHITE_SHARE = 0.6, 0.8  # from which on a voxel counts as that tissue
GREY_PERCENTILE = 60  # above the median, as fluid in the sulci darkens the cortex in T1, FLAIR and CT alike
RIDGE = 1e-6


class TissueFit(NamedTuple):
    """What the blocks say.

    Attributes:
        similarity: multiple correlation (0 to 1) of brightness with the shares of fluid and grey matter, the root mean
            square over the two thirds of the blocks that fit best. Noise reaches 0.24 to 0.40, as it is fitted too.
        fluid: partial correlation (−1 to 1) of brightness with the share of fluid, grey matter held fixed: the median
            over the blocks where fluid varies most. Above 0 fluid is brighter than tissue.
        grey_white: how much brighter grey matter (its 60th percentile) is than white matter (its median), in standard
            deviations of a block's brightness: the median over the blocks that hold both; 0 if there is none.
    """

    similarity: float
    fluid: float
    grey_white: float


def tissue_fit(image: NDArray, brain: NDArray, *, fluid: NDArray, grey: NDArray) -> TissueFit | None:
    """Measure in blocks of 16 mm how brightness follows the tissues that an aligned scan should have there.

    What is compared within a block depends neither on the brightness elsewhere nor on offset, scale and bias field; a
    lesion spoils the blocks that it lies in, which the best two thirds and the medians leave out.

    Args:
        image: [H, W, D], any range.
        brain: where scan and template have brain, [H, W, D], bool.
        fluid: share of fluid, [H, W, D], 0 to 1.
        grey: share of grey matter, likewise; the rest is white matter.

    Returns:
        The fit; None if fewer than 20 blocks hold brain, or the brain is constant.
    """
    weight = brain.astype(np.float32)
    inside = _blocks(brain)
    kept = inside.mean(axis=1) >= MIN_BLOCK_SHARE
    spread = float(np.std(image[brain], dtype=np.float64)) if brain.any() else 0.0
    if np.count_nonzero(kept) < MIN_BLOCKS or spread == 0:
        return None
    standard = ((image - np.mean(image[brain], dtype=np.float64)) / spread * weight).astype(np.float32)
    smooth = gaussian_filter(standard, SIGMA_VOXELS) / np.maximum(gaussian_filter(weight, SIGMA_VOXELS), RIDGE)
    inside = inside[kept]
    covariance = _covariance(np.stack([_blocks(field)[kept] for field in (smooth, fluid, grey)]), inside)
    precision = np.linalg.inv(covariance + RIDGE * np.eye(3))
    explained = 1 - 1 / (precision[:, 0, 0] * (covariance[:, 0, 0] + RIDGE))
    best = np.sort(explained)[int(DROPPED_SHARE * len(explained)) :]
    partial = -precision[:, 0, 1] / np.sqrt(precision[:, 0, 0] * precision[:, 1, 1])
    varying = 1 / np.linalg.inv(covariance[:, 1:, 1:] + RIDGE * np.eye(2))[:, 0, 0]
    telling = varying >= np.quantile(varying, 1 - TELLING_SHARE)
    tissues = (grey > GREY_SHARE, 1 - fluid - grey > WHITE_SHARE)
    grey_voxels, white_voxels = (_blocks(share)[kept] & inside for share in tissues)
    return TissueFit(
        similarity=float(np.sqrt(max(0.0, best.mean()))),
        fluid=float(np.median(partial[telling])),
        grey_white=_grey_white(_blocks(standard)[kept], inside, grey_voxels, white_voxels),
    )


def _blocks(array: NDArray) -> NDArray:
    """Return the voxels of each block of an array, which zeros fill up to whole blocks, [N, V]."""
    padded = np.pad(array, [(0, -n % BLOCK_VOXELS) for n in array.shape])
    split = padded.reshape([part for n in padded.shape for part in (n // BLOCK_VOXELS, BLOCK_VOXELS)])
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, BLOCK_VOXELS**3)


def _covariance(fields: NDArray, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the covariance [N, C, C] within each block of fields [C, N, V], over the voxels inside, [N, V]."""
    count = inside.sum(axis=1, dtype=np.float64)
    means = (fields * inside).sum(axis=2, dtype=np.float64) / count
    centred = (fields - means[..., None]) * inside
    return np.einsum("inv,jnv->nij", centred, centred) / count[:, None, None]


def _grey_white(image: NDArray, inside: NDArray, grey: NDArray, white: NDArray) -> float:
    """Compare grey and white matter in the blocks [N, V] that hold enough of both."""
    both = np.minimum(grey.sum(axis=1), white.sum(axis=1)) >= MIN_TISSUE_VOXELS
    rows = zip(image[both], inside[both], grey[both], white[both], strict=True)
    found = [
        (np.percentile(voxels[is_grey], GREY_PERCENTILE) - np.median(voxels[is_white]), voxels[is_in].std())
        for voxels, is_in, is_grey, is_white in rows
    ]
    difference, deviation = np.median(found, axis=0) if found else (0.0, 0.0)
    return float(difference / deviation) if deviation > 0 else 0.0


_MAX_COUNTED = 500_000
_MOSTLY = 0.9  # share of white matter from which on a voxel counts as such


def measure_scan(image: NDArray, mask: NDArray, affine: NDArray) -> dict[str, float]:
    """Measure voxels, brightness and brain mask on the scan's own grid.

    Args:
        image: [H, W, D], any real type.
        mask: [H, W, D], bool.
        affine: voxel to the scan's own world, [4, 4], mm.

    Returns:
        Numbers by the names of `BOUNDS`; those of the brightness are missing if the mask is empty.
    """
    edges = voxel_edges(affine)
    volume_mm3 = np.count_nonzero(mask) * abs(float(np.linalg.det(np.asarray(affine)[:3, :3])))
    numbers = {
        "voxel_edge_mm": float(edges.max()),
        "voxel_anisotropy": float(edges.max() / edges.min()),
        "num_slices": float(min(brain_extents(mask))),
        "brain_volume_ml": volume_mm3 / 1000,
        "brain_cut_share": float(end_sections(mask).max()),
    }
    if not mask.any():
        return numbers
    box = find_objects(mask.astype(np.uint8))[0]
    brain, inside = np.asarray(image[box], dtype=np.float32), mask[box]
    values = brain[inside]
    return {
        **numbers,
        # Every n-th value is enough to tell a mask from a scan, and sorting all of them takes a second.
        "distinct_values": float(len(np.unique(values[:: 1 + len(values) // _MAX_COUNTED]))),
        "saturated_share": saturated_share(values),
        "negative_share": float(np.mean(values < 0)),
        "spike_ratio": spike_ratio(values),
        "brightness_span": brightness_span(values),
        "noise_ratio": noise_ratio(brain, inside, edges),
    }


def measure_on_template(
    image: NDArray, mask: NDArray, affine: NDArray, world_to_template: NDArray
) -> tuple[dict[str, float], TissueFit | None]:
    """Measure how well a scan lies on the template and how bright its tissues are.

    Args:
        image: [H, W, D], any real type.
        mask: [H, W, D], bool, at least 1000 voxels.
        affine: voxel to the scan's own world, [4, 4], mm.
        world_to_template: that world to MNI world, [4, 4], mm.

    Returns:
        Numbers by the names of `BOUNDS`; how brightness follows the tissues, None where there is too little brain.

    Raises:
        InputError: if the mask is too small or the brain constant.
    """
    scan, template, tissues = prepare_scan(image, mask, affine), load_template(), load_tissues()
    at_template = place(scan, world_to_template, template.affine, template.image.shape)
    placed, quality = at_template.brain, placed_quality(at_template)
    brain = (placed.mask > 0.5) & (template.mask > 0.5)
    stretches = np.linalg.svd(world_to_template[:3, :3], compute_uv=False)
    fit = tissue_fit(placed.image, brain, fluid=tissues.fluid, grey=tissues.grey)
    numbers = {
        "template_coverage": quality.seen_share,
        "template_overlap": quality.overlap,
        "template_stretch": float(stretches[0] / stretches[-1]) if stretches[-1] > 0 else float("inf"),
        "template_similarity": fit.similarity if fit else 0.0,
        "nonuniformity": nonuniformity(placed.image, brain, (tissues.white > _MOSTLY) & brain),
    }
    return numbers, fit
