"""How a scan's brightness follows the template's tissues, judged block by block, so that no lesion decides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scripts.registration.brain_scan import block_means

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
    share = block_means(weight, [BLOCK_VOXELS] * 3)
    kept = share >= MIN_BLOCK_SHARE
    spread = float(np.std(image[brain], dtype=np.float64)) if brain.any() else 0.0
    if np.count_nonzero(kept) < MIN_BLOCKS or spread == 0:
        return None
    standard = ((image - np.mean(image[brain], dtype=np.float64)) / spread * weight).astype(np.float32)
    smooth = gaussian_filter(standard, SIGMA_VOXELS) / np.maximum(gaussian_filter(weight, SIGMA_VOXELS), RIDGE)
    covariance = _block_covariance([field * weight for field in (smooth, fluid, grey)], share, kept)
    precision = np.linalg.inv(covariance + RIDGE * np.eye(3))
    explained = 1 - 1 / (precision[:, 0, 0] * (covariance[:, 0, 0] + RIDGE))
    best = np.sort(explained)[int(DROPPED_SHARE * len(explained)) :]
    partial = -precision[:, 0, 1] / np.sqrt(precision[:, 0, 0] * precision[:, 1, 1])
    varying = 1 / np.linalg.inv(covariance[:, 1:, 1:] + RIDGE * np.eye(2))[:, 0, 0]
    telling = varying >= np.quantile(varying, 1 - TELLING_SHARE)
    return TissueFit(
        similarity=float(np.sqrt(max(0.0, best.mean()))),
        fluid=float(np.median(partial[telling])),
        grey_white=_grey_white(standard, brain, fluid=fluid, grey=grey),
    )


def _block_covariance(fields: list[NDArray], share: NDArray, kept: NDArray) -> NDArray[np.float64]:
    """Return the covariance [N, C, C] of C fields, which are 0 outside the brain, in each of the N blocks kept."""
    factors = [BLOCK_VOXELS] * 3
    inside = share[kept].astype(np.float64)
    means = [block_means(field, factors)[kept] / inside for field in fields]
    rows = [
        [block_means(first * second, factors)[kept] / inside - means[i] * means[j] for j, second in enumerate(fields)]
        for i, first in enumerate(fields)
    ]
    return np.moveaxis(np.asarray(rows), -1, 0)


def _grey_white(image: NDArray, brain: NDArray, *, fluid: NDArray, grey: NDArray) -> float:
    is_grey, is_white = brain & (grey > GREY_SHARE), brain & (1 - fluid - grey > WHITE_SHARE)
    differences, deviations = [], []
    for corner in np.ndindex(*(-(-n // BLOCK_VOXELS) for n in image.shape)):
        block = tuple(slice(BLOCK_VOXELS * k, BLOCK_VOXELS * (k + 1)) for k in corner)
        if min(np.count_nonzero(is_grey[block]), np.count_nonzero(is_white[block])) < MIN_TISSUE_VOXELS:
            continue
        part = image[block]
        differences.append(np.percentile(part[is_grey[block]], GREY_PERCENTILE) - np.median(part[is_white[block]]))
        deviations.append(part[brain[block]].std())
    typical = float(np.median(deviations)) if deviations else 0.0
    return float(np.median(differences)) / typical if typical > 0 else 0.0
