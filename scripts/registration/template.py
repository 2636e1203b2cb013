"""The MNI152 T1 template on the grid of the network, how well a brain lies on it, and what lies where, in words."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from nilearn.datasets import (
    load_mni152_brain_mask,
    load_mni152_gm_template,
    load_mni152_template,
    load_mni152_wm_template,
)
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import affine_transform, distance_transform_edt, label
from scipy.spatial import cKDTree
from scripts.errors import InputError
from scripts.scans.volume import TEMPLATE_CENTER_MM, grid_affine

__all__ = [
    "OUTSIDE",
    "TEMPLATE_SIZE",
    "TEMPLATE_SPACING_MM",
    "Anatomy",
    "Tissues",
    "Volume",
    "anatomy_at",
    "load_template",
    "load_tissues",
    "mask_dice",
    "masked_correlation",
    "place_of_region",
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
    """Return the Dice overlap (0 to 1) of two masks of one shape; voxels above 0.5 count, 0 if there are none.

    Examples:
        >>> bool(mask_dice(np.array([1, 1, 0]), np.array([1, 0, 0])) == 2 / 3)
        True
    """
    a, b = first > 0.5, second > 0.5
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 0.0


def masked_correlation(first: NDArray, second: NDArray, mask: NDArray) -> float:
    """Return Pearson's correlation (−1 to 1) of two images where `mask` is above 0.5; 0 where one is constant.

    Examples:
        >>> image = np.arange(8.0)
        >>> masked_correlation(image, 7 - image, np.ones(8))
        -1.0
    """
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


OUTSIDE = "outside the template's brain"
PERIVENTRICULAR_MM = 10.0  # a usual limit for lesions beside the lateral ventricles
FAR_MM = 10.0  # farther than that from the template's brain nothing has a name
MIDLINE_MM = 2.0
ONE_SIDE = 0.8  # share of a region's voxels that makes it left or right
_HALF, _MIN_WHITE, _MIN_GREY, _MAX_TISSUE_IN_FLUID = 0.5, 0.9, 0.7, 0.3  # shares of a voxel that count as one tissue
_WHITE_MATTER_LOBES = ("corpus callosum", "deep white matter")
_VENTRICLE_MM = ((10.0, -4.0, 20.0), (-10.0, -4.0, 20.0))  # inside the body of each lateral ventricle
_LANDMARKS = Path(__file__).with_name("landmarks.csv")


@dataclass(frozen=True)
class Anatomy:
    """What lies at N points.

    Attributes:
        lobe: [N], such as `frontal lobe`, or `OUTSIDE`.
        structure: [N], the nearest landmark, such as `precentral gyrus`.
        tissue: [N], `grey matter`, `white matter`, `fluid` or `mixed`.
        ventricle_mm: [N], distance from the lateral ventricles.
    """

    lobe: NDArray[np.str_]
    structure: NDArray[np.str_]
    tissue: NDArray[np.str_]
    ventricle_mm: NDArray[np.float64]


def anatomy_at(points_mm: ArrayLike) -> Anatomy:
    """Name what lies at points.

    Args:
        points_mm: [N, 3], MNI152, RAS, mm.

    Raises:
        InputError: if the points have another shape, or one is not finite.

    References:
        Tissues and brain: ICBM 2009a nonlinear symmetric, as nilearn ships it. Fonov et al., NeuroImage 2011,
        doi:10.1016/j.neuroimage.2010.07.033.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f"`points_mm` must be finite with shape [N, 3], got {points.shape}")
    maps, marks = _maps(), _landmarks()
    voxels = np.rint((points - maps.origin) / TEMPLATE_SPACING_MM).astype(int)
    inside = tuple(voxels.clip(0, np.array(maps.tissue.shape) - 1).T)
    tissue = np.array(("mixed", "fluid", "grey matter", "white matter"))[maps.tissue[inside]]
    grey = marks.grey[marks.grey_tree.query(points)[1]]
    nearest = np.where(tissue == "white matter", marks.all.query(points)[1], grey)
    lobe = np.where(maps.outside_mm[inside] > FAR_MM, OUTSIDE, marks.lobe[nearest])
    return Anatomy(lobe, marks.structure[nearest], tissue, maps.ventricle_mm[inside])


def place_of_region(points_mm: ArrayLike) -> dict[str, Any]:
    """Say where a region lies, from all of its voxels.

    Args:
        points_mm: [N, 3], the centres of its voxels, MNI152, RAS, mm; at least one.

    Returns:
        `side` (left, right, midline or both: left and right hold 80 % of the voxels), `lobe` (that with most voxels)
        and `lobe_share` (0 to 1), `structure` (the landmark to which most of the lobe's voxels are nearest), `tissue`
        (that of most voxels), `periventricular` (most voxels lie within 10 mm of a lateral ventricle), and `place`, all
        of this as one phrase.

    Raises:
        InputError: if there is no point, or a wrong one.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if not points.size:
        raise InputError("`points_mm` must hold at least one point, got none")
    found = anatomy_at(points)
    side = _side(points[:, 0])
    lobe, share = _most(found.lobe)
    structure = _most(found.structure[found.lobe == lobe])[0] if lobe != OUTSIDE else None
    tissue = _most(found.tissue)[0]
    near = bool(np.mean(found.ventricle_mm <= PERIVENTRICULAR_MM) > 0.5) and lobe != OUTSIDE
    facts = {"side": side, "lobe": lobe, "lobe_share": round(share, 2), "structure": structure, "tissue": tissue}
    return {**facts, "periventricular": near, "place": _phrase(side, lobe, structure, tissue, near)}


def _side(x_mm: NDArray[np.float64]) -> str:
    if np.mean(x_mm < 0) >= ONE_SIDE and x_mm.mean() < -MIDLINE_MM:
        return "left"
    if np.mean(x_mm > 0) >= ONE_SIDE and x_mm.mean() > MIDLINE_MM:
        return "right"
    return "midline" if np.abs(x_mm).max() <= FAR_MM else "both"


def _phrase(side: str, lobe: str, structure: str | None, tissue: str, periventricular: bool) -> str:
    """Return such as "right frontal lobe, near the precentral gyrus, white matter, periventricular"."""
    if structure is None:
        return lobe
    words = {"both": f"{lobe}, both sides", "midline": f"{lobe}, midline"}.get(side, f"{side} {lobe}")
    parts = [words] if structure == lobe or structure.endswith("white matter") else [words, f"near the {structure}"]
    parts += [tissue] if tissue == "white matter" and not lobe.endswith("white matter") else []
    return ", ".join([*parts, *(["periventricular"] if periventricular else [])])


def _most(names: NDArray[np.str_]) -> tuple[str, float]:
    """Return the most frequent name and its share; the first in the alphabet of equals."""
    found, counts = np.unique(names, return_counts=True)
    return str(found[counts.argmax()]), float(counts.max() / counts.sum())


@dataclass(frozen=True)
class _Landmarks:
    """Both sides' landmarks; `grey` holds the places of those that may name grey matter."""

    lobe: NDArray[np.str_]
    structure: NDArray[np.str_]
    grey: NDArray[np.int_]
    all: cKDTree
    grey_tree: cKDTree


@cache
def _landmarks() -> _Landmarks:
    with _LANDMARKS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    right = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    points = np.concatenate([right, right * [-1, 1, 1]])
    lobe, structure = (np.array([row[name] for row in rows] * 2) for name in ("lobe", "structure"))
    grey = np.flatnonzero(~np.isin(lobe, _WHITE_MATTER_LOBES))
    return _Landmarks(lobe, structure, grey, cKDTree(points), cKDTree(points[grey]))


@dataclass(frozen=True)
class _Maps:
    """Maps on the template's grid [96, 96, 80], 2 mm, whose first voxel lies at `origin` (mm)."""

    origin: NDArray[np.float64]
    tissue: NDArray[np.uint8]  # 0 mixed, 1 fluid, 2 grey, 3 white
    outside_mm: NDArray[np.float32]
    ventricle_mm: NDArray[np.float32]


@cache
def _maps() -> _Maps:
    template, tissues = load_template(), load_tissues()
    origin = template.affine[:3, 3]
    brain = template.mask > _HALF
    fluid = brain & (tissues.grey + tissues.white < _MAX_TISSUE_IN_FLUID)
    pure = [tissues.white > _MIN_WHITE, brain & (tissues.grey > _MIN_GREY), fluid]
    kinds = np.select(pure, [3, 2, 1], 0).astype(np.uint8)
    # In the template each lateral ventricle is a piece of fluid of its own, 7 ml.
    pieces, _ = label(fluid)
    seeds = np.rint((np.array(_VENTRICLE_MM) - origin) / TEMPLATE_SPACING_MM).astype(int)
    ventricles = np.isin(pieces, pieces[tuple(seeds.T)])
    outside, ventricle = (
        distance_transform_edt(~mask, sampling=TEMPLATE_SPACING_MM).astype(np.float32)
        for mask in (template.mask > 0.5, ventricles)
    )
    return _Maps(origin, kinds, outside, ventricle)
