"""The MNI152 T1 template, cut to the grid on which the network works, and how well a brain lies on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from nilearn.datasets import (
    load_mni152_brain_mask,
    load_mni152_gm_template,
    load_mni152_template,
    load_mni152_wm_template,
)
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from scripts.scans.grid import TEMPLATE_CENTER_MM, grid_affine

__all__ = [
    "TEMPLATE_SIZE",
    "TEMPLATE_SPACING_MM",
    "Tissues",
    "Volume",
    "load_template",
    "load_tissues",
    "mask_dice",
    "masked_correlation",
]

TEMPLATE_SIZE = (96, 96, 80)
TEMPLATE_SPACING_MM = 2.0


@dataclass(frozen=True)
class Volume:
    """A brain on a grid.

    Attributes:
        image: float32 [H, W, D], 0 to 1 in the brain, 0 outside.
        mask: float32 [H, W, D], which part of each voxel is brain, 0 to 1.
        affine: voxel to world, RAS mm, [4, 4].
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    affine: NDArray[np.float64]


@cache
def load_template() -> Volume:
    """Load the skull-stripped T1 template on the template grid: 96 x 96 x 80 voxels of 2 mm, RAS.

    Returns:
        The template and its brain mask (1.88 l); shared, not to be written to.

    References:
        ICBM 2009a nonlinear symmetric, as nilearn ships it. Fonov et al., NeuroImage 2011,
        doi:10.1016/j.neuroimage.2010.07.033.
    """
    grid = grid_affine(TEMPLATE_CENTER_MM, TEMPLATE_SIZE, TEMPLATE_SPACING_MM)

    def on_grid(source: object) -> NDArray[np.float32]:
        to_source = np.linalg.solve(source.affine, grid)  # type: ignore[attr-defined]
        voxels = np.asarray(source.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
        return affine_transform(voxels, to_source, output_shape=TEMPLATE_SIZE, order=1)

    mask = (on_grid(load_mni152_brain_mask(resolution=2)) > 0.5).astype(np.float32)
    image = on_grid(load_mni152_template(resolution=2)) * mask
    for array in (image, mask, grid):
        array.setflags(write=False)
    return Volume(image, mask, grid)


def mask_dice(first: NDArray, second: NDArray) -> float:
    """Return the Dice overlap (0 to 1) of two masks of one shape; voxels above 0.5 count, 0 if there are none."""
    a, b = first > 0.5, second > 0.5
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 0.0


def masked_correlation(first: NDArray, second: NDArray, mask: NDArray) -> float:
    """Return Pearson's correlation (−1 to 1) of two images where `mask` is above 0.5; 0 where one is constant."""
    inside = mask > 0.5
    if np.count_nonzero(inside) < 2:
        return 0.0
    a, b = (image[inside].astype(np.float64) for image in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


@dataclass(frozen=True)
class Tissues:
    """Which share (0 to 1) of each voxel of the template's brain is which tissue, float32 [96, 96, 80] each.

    Attributes:
        fluid: what the brain mask holds beside grey and white matter.
        grey: cortex and nuclei.
        white: white matter.
    """

    fluid: NDArray[np.float32]
    grey: NDArray[np.float32]
    white: NDArray[np.float32]


@cache
def load_tissues() -> Tissues:
    """Load the tissues of the template on the grid of `load_template`; shared, not to be written to.

    References:
        ICBM 2009a nonlinear symmetric, as nilearn ships it. Fonov et al., NeuroImage 2011,
        doi:10.1016/j.neuroimage.2010.07.033.
    """
    template = load_template()
    brain = template.mask > 0.5
    grey, white = (
        affine_transform(
            np.asarray(source.dataobj, dtype=np.float32),
            np.linalg.solve(source.affine, template.affine),
            output_shape=TEMPLATE_SIZE,
            order=1,
        )
        * brain
        for source in (load_mni152_gm_template(resolution=2), load_mni152_wm_template(resolution=2))
    )
    return Tissues(fluid=np.clip(1 - grey - white, 0, 1) * brain, grey=grey, white=white)
