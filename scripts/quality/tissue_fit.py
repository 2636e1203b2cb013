"""How a scan's brightness follows the template's tissues, judged block by block, so that no lesion decides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["TissueFit", "tissue_fit"]

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
    grey_voxels, white_voxels = (_blocks(share)[kept] & inside for share in _tissues(fluid, grey))
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


def _tissues(fluid: NDArray, grey: NDArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return grey > GREY_SHARE, 1 - fluid - grey > WHITE_SHARE


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
