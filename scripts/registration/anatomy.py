"""Where on MNI152 something lies, in words: side, lobe, nearest structure and tissue.

No atlas volume is needed. `landmarks.csv` beside this file holds points of known structures on the right-hand side,
mirrored for the left; a place belongs to the lobe of the landmark that is nearest, among the grey matter's landmarks
unless the template has white matter there. Measured once on the 107,000 labelled voxels (every seventh, 1 mm; cortex,
nuclei, cerebellum, brainstem) of the Desikan-Killiany atlas, which is not shipped: 89 % get the atlas' lobe, each lobe
80 % or more, the corpus callosum 60 %. Near a border, and as a scan is aligned by an affine only, the neighbour is as
likely.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt, label
from scipy.spatial import cKDTree

from scripts.registration.template import TEMPLATE_SPACING_MM, load_template, load_tissues

__all__ = ["OUTSIDE", "Anatomy", "anatomy_at", "place_of_region"]

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
        ValueError: if the points have another shape, or one is not finite.

    References:
        Tissues and brain: ICBM 2009a nonlinear symmetric, as nilearn ships it. Fonov et al., NeuroImage 2011,
        doi:10.1016/j.neuroimage.2010.07.033.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"`points_mm` must be finite with shape [N, 3], got {points.shape}")
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
        ValueError: if there is no point, or a wrong one.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if not points.size:
        raise ValueError("`points_mm` must hold at least one point, got none")
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
