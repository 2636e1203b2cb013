"""How a volume is laid out on a screen: radiological, whatever way its voxels run; and what each colour means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import find_objects
from scripts.errors import InputError
from skimage.transform import resize

__all__ = [
    "BACKGROUND",
    "BRAIN",
    "CHANGES",
    "LABEL",
    "MAP",
    "MASKS",
    "REGION",
    "TEXT",
    "DisplayVolumes",
    "PageView",
    "SlicePicture",
    "brain_window",
    "choose_slices",
    "display_volumes",
    "page_view",
    "radiological_slice",
    "to_ras",
]

REGION = "#2ec4f1"  # sky blue: candidate regions and the threshold that makes them; no colour of the map comes near
LABEL = "#ff9f1c"  # orange: what an expert outlined
BRAIN = "#8fd694"  # light green: the brain mask
# of regions between two sessions: pink for more, violet for less
CHANGES = {
    "new": "#ff3b6b", "grown": "#ff9dba", "shrunken": "#c3b5ff", "vanished": "#8463ff", "unchanged": REGION,
}  # fmt: skip
MAP = "inferno"  # the anomaly map
BACKGROUND, TEXT = "black", "#e6e6e6"


def to_ras(volume: ArrayLike, affine: ArrayLike | None) -> NDArray:
    """Flip and transpose a volume so that its axes run to the right, to the front and up (RAS+).

    Args:
        volume: [H, W, D].
        affine: [4, 4], voxel indices to RAS mm, as NIfTI and MONAI have it; None when the volume is RAS already.

    Returns:
        The same voxels in the nearest RAS order, without interpolation.
    """
    array = np.asarray(volume)
    if affine is None:
        return array
    return np.asarray(nib.orientations.apply_orientation(array, nib.io_orientation(np.asarray(affine))))


def radiological_slice(volume: ArrayLike, index: int) -> NDArray:
    """Return an axial slice of a RAS volume as rows and columns of a picture.

    The front of the head is up and the patient's right is on the left, as if seen from the feet.

    Args:
        volume: [H, W, D], RAS.
        index: position along D.

    Returns:
        [W, H], first row on top.
    """
    return np.asarray(volume)[:, :, index].T[::-1, ::-1]


def choose_slices(weight: ArrayLike, num_slices: int) -> list[int]:
    """Choose slices with much in them that are not all neighbours.

    The heaviest slice is taken first, then the heaviest that keeps a distance from those taken; the distance is a share
    of the extent of all non-empty slices and shrinks until enough are found.

    Args:
        weight: [D], for example the lesion area of each slice, at least 0.
        num_slices: how many to choose.

    Returns:
        At most `num_slices` positions, from the top of the head down; the middle slice when all are empty.

    Raises:
        InputError: when `num_slices` is below 1.
    """
    if num_slices < 1:
        raise InputError(f"`num_slices` must be at least 1, got {num_slices}")
    weights = np.asarray(weight, dtype=np.float64)
    filled = np.flatnonzero(weights > 0)
    if not len(filled):
        return [len(weights) // 2]
    heaviest_first = filled[np.argsort(-weights[filled], kind="stable")].tolist()
    for gap in range(max(1, len(filled) // (num_slices + 1)), 0, -1):
        chosen: list[int] = []
        for index in heaviest_first:
            if len(chosen) < num_slices and all(abs(index - other) >= gap for other in chosen):
                chosen.append(index)
        if len(chosen) == min(num_slices, len(filled)):
            break
    return sorted(chosen, reverse=True)


THICK_MM = 2.0  # slices above this are thick
MASKS = ("lesion_mask", "brain_mask")  # resampled by the nearest voxel, and kept 0 or 1
_NEAREST = (*MASKS, "change_dseg")  # whole numbers
_GREYS = ("image", "baseline")
_DIFFERENCE_SHARE = 0.25  # of the threshold: smaller differences are not drawn


@dataclass(frozen=True)
class DisplayVolumes:
    """Volumes of one scan on one grid that is made for display.

    Attributes:
        volumes: float32 [H, W, D] by name, axes to the right, front and top (RAS); masks hold 0 and 1. `brain_mask` is
            always among them.
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
    """

    volumes: dict[str, NDArray[np.float32]]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel edges [3] in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def inside(self, name: str) -> NDArray[np.float32]:
        """Return a volume's values [N] inside the brain; all of its values when the brain is empty."""
        brain = self.volumes["brain_mask"] > 0
        return self.volumes[name][brain] if brain.any() else self.volumes[name].ravel()

    def window(self, name: str) -> tuple[float, float]:
        """Return the percentiles 1 and 99 of a volume inside the brain, for black and white; they are never equal."""
        low, high = (float(value) for value in np.percentile(self.inside(name), [1, 99]))
        return (low, high) if high > low else (low, low + 1.0)

    def map_maximum(self, threshold: float | None) -> float:
        """Return the top of the map's colour scale: its 99.9th percentile in the brain, at least twice the threshold.

        So a scan in which nothing reaches the threshold stays dark.
        """
        top = float(np.percentile(self.inside("anomaly_map"), 99.9))
        least = 2 * threshold if threshold is not None else 0.0
        return max(top, least) or 1.0

    def extremes(self, name: str) -> tuple[float, float]:
        """Return the least and the largest value that a copy keeps: the map's peak, not an image's brightest 0.1 %."""
        low = min(0.0, float(self.inside(name).min()))
        high = float(np.percentile(self.inside(name), 99.9) if name in _GREYS else self.volumes[name].max())
        return (low, high) if high > low else (low, low + 1.0)

    def scale(self, name: str, threshold: float | None) -> tuple[float, float]:
        """Return the values that are drawn at the ends of a volume's grey or colour scale."""
        if name in _GREYS:
            return self.window(name)
        if name == "difference_map":
            top = float(np.percentile(np.abs(self.inside(name)), 99.9))
            least = _DIFFERENCE_SHARE * (threshold or top)
            return least, max(top, 2 * least) or 1.0
        return (0.0, self.map_maximum(threshold)) if name == "anomaly_map" else (0.0, 1.0)

    def slices_to_show(self, num_slices: int) -> list[int]:
        """Choose axial slices, from the feet up: half of them with most lesion, the others evenly over the brain.

        Where there is no lesion, the first half are those with the highest map; a brain with fewer slices shows all.
        """
        filled = np.flatnonzero(self.volumes["brain_mask"].any(axis=(0, 1)))
        if not len(filled):
            filled = np.arange(self.volumes["brain_mask"].shape[2])
        if len(filled) <= num_slices:
            return [int(index) for index in filled]
        chosen = choose_slices(self._weight(), max(1, num_slices // 2))
        first, last = np.quantile(filled, [0.1, 0.95])  # the outermost slices hold little brain
        candidates = [int(index) for index in filled if first <= index <= last]
        while len(chosen) < min(num_slices, len(candidates)):
            chosen.append(max(candidates, key=lambda index: min(abs(index - other) for other in chosen)))
        return sorted(chosen)

    def changed_slices(self, num_slices: int) -> list[int]:
        """Choose slices with most change, or those of any region, or those that show the brain."""
        kinds = self.volumes["change_dseg"]
        changed = ((kinds > 0) & (kinds < len(CHANGES))).sum(axis=(0, 1))
        weight = changed if changed.any() else (kinds > 0).sum(axis=(0, 1))
        return sorted(choose_slices(weight, num_slices)) if weight.any() else self.slices_to_show(num_slices)

    def pictures(self, slices: Sequence[int] | None = None) -> list[SlicePicture]:
        """Return axial slices in radiological display; by default the one with the most lesion or the highest map."""
        middle = (np.array(self.volumes["image"].shape[:2]) - 1) / 2
        return [
            SlicePicture(
                layers={name: radiological_slice(volume, index) for name, volume in self.volumes.items()},
                height_mm=float((self.affine @ [*middle, index, 1.0])[2]),
            )
            for index in (choose_slices(self._weight(), 1) if slices is None else slices)
        ]

    def _weight(self) -> NDArray[np.float64]:
        """Return how much each axial slice [D] deserves to be shown."""
        lesion = self.volumes.get("lesion_mask")
        if lesion is not None and lesion.any():
            return lesion.sum(axis=(0, 1), dtype=np.float64)
        shown = self.volumes.get("anomaly_map", self.volumes["brain_mask"])
        weight = np.clip(shown, 0, None).sum(axis=(0, 1), dtype=np.float64)
        return weight if weight.any() else self.volumes["brain_mask"].sum(axis=(0, 1), dtype=np.float64)


@dataclass(frozen=True)
class SlicePicture:
    """An axial slice in radiological display.

    Attributes:
        layers: [rows, columns] by the volume's name.
        height_mm: where it lies in the scanner's world, at its middle.
    """

    layers: dict[str, NDArray[np.float32]]
    height_mm: float


@dataclass(frozen=True)
class PageView:
    """What a page draws of a scan, chosen once for viewer and pictures.

    Attributes:
        volumes: float32 [H, W, D] by name, as in `DisplayVolumes`.
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
        spacing_mm: voxel edges [3].
        threshold: of the map, where it is known.
        scales: the values at the ends of each volume's grey or colour scale, by name.
        extremes: the least and the largest value that each volume's copy in the viewer keeps, by name.
        slices: of the mosaic, from the feet up.
        thumbnail: the slice with the most lesion or the highest map.
        changed: the slices that show what changed since a baseline; none without one.
    """

    volumes: dict[str, NDArray[np.float32]]
    affine: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    threshold: float | None
    scales: dict[str, tuple[float, float]]
    extremes: dict[str, tuple[float, float]]
    slices: list[SlicePicture]
    thumbnail: SlicePicture
    changed: list[SlicePicture]


def page_view(
    display: DisplayVolumes, *, threshold: float | None = None, num_slices: int = 12, num_changed: int = 6
) -> PageView:
    """Choose scales and slices of a scan's volumes.

    Half of the mosaic's slices are those with most lesion (or with the highest map, where there is no lesion), the
    others are spread evenly over the brain.

    Args:
        display: `image`, and any of `reconstruction`, `anomaly_map`, `lesion_mask` and, together, `baseline`,
            `difference_map` and `change_dseg`.
        threshold: the map's colours reach at least twice as far.
        num_slices: how many slices the mosaic has; a brain with fewer slices shows them all.
        num_changed: how many slices show the changes.
    """
    (thumbnail,) = display.pictures()
    is_compared = "change_dseg" in display.volumes
    return PageView(
        volumes=display.volumes,
        affine=display.affine,
        spacing_mm=display.spacing_mm,
        threshold=threshold,
        scales={name: display.scale(name, threshold) for name in display.volumes},
        extremes={name: display.extremes(name) for name in display.volumes},
        slices=display.pictures(display.slices_to_show(num_slices)),
        thumbnail=thumbnail,
        changed=display.pictures(display.changed_slices(num_changed)) if is_compared else [],
    )


def brain_window(brain: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Return the part of each axial slice that holds the brain with a margin; everything when there is none.

    Args:
        brain: [H, W, D], RAS.
        margin: voxels.
    """
    if not brain.any():
        return slice(None), slice(None)
    first, second = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return (
        slice(max(int(first[0]) - margin, 0), int(first[-1]) + margin + 1),
        slice(max(int(second[0]) - margin, 0), int(second[-1]) + margin + 1),
    )


def display_volumes(
    volumes: Mapping[str, ArrayLike], affine: ArrayLike, *, margin_mm: float = 8.0, max_voxels: int = 3_500_000
) -> DisplayVolumes:
    """Turn volumes upright, crop them to the brain and resample them where they are finer than a screen needs.

    Finer voxels are made 1 mm large. Where slices are thicker than 2 mm it is half of that, as such scans have few
    voxels: one that looks at them looks at slices.
    Images are averaged while they are made coarser and then interpolated linearly; NaN and infinity become 0.

    Args:
        volumes: [H, W, D] each, on the scan's own grid: `image`, and any of `reconstruction`, `anomaly_map`,
            `lesion_mask`, `brain_mask` (by default where the image is not 0).
        affine: [4, 4], voxel to the scanner's world (RAS), mm.
        margin_mm: what is kept around the brain.
        max_voxels: the finest axes are made coarser still until the copies have no more voxels than this.

    Raises:
        InputError: when `image` is missing or the volumes have not all its shape [H, W, D].
    """
    arrays = {name: np.asarray(volume) for name, volume in volumes.items()}
    _check(arrays)
    arrays.setdefault("brain_mask", arrays["image"] != 0)
    matrix = np.asarray(affine, dtype=np.float64)
    turned = nib.orientations.inv_ornt_aff(nib.orientations.io_orientation(matrix), arrays["image"].shape)
    upright = {name: to_ras(array, matrix) for name, array in arrays.items()}
    thick = np.linalg.norm(matrix[:3, :3], axis=0).max() > THICK_MM
    return _resampled(*_cropped(upright, matrix @ turned, margin_mm), 0.5 if thick else 1.0, max_voxels)


def _check(arrays: Mapping[str, NDArray]) -> None:
    """Refuse volumes that are not on one grid."""
    if "image" not in arrays:
        raise InputError(f"`volumes` must hold `image`, got {sorted(arrays)}")
    shape = arrays["image"].shape
    if len(shape) != 3:
        raise InputError(f"`image` must have shape [H, W, D], got {shape}")
    for name, array in arrays.items():
        if array.shape != shape:
            raise InputError(f"`{name}` must have the image's shape {shape}, got {array.shape}")


def _cropped(
    volumes: Mapping[str, NDArray], affine: NDArray[np.float64], margin_mm: float
) -> tuple[dict[str, NDArray], NDArray[np.float64]]:
    """Return the box of the brain with a margin in RAS volumes, not copied; everything when there is no brain."""
    brain = volumes["brain_mask"] > 0
    margin = np.ceil(margin_mm / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    held = next(iter(find_objects(brain.astype(np.uint8))), tuple(slice(0, size) for size in brain.shape))
    box = tuple(slice(max(0, part.start - room), part.stop + room) for part, room in zip(held, margin, strict=True))
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return {name: volume[box] for name, volume in volumes.items()}, shifted


def _clean(name: str, volume: NDArray) -> NDArray[np.float32]:
    """Return a float32 copy of a volume: masks 0 and 1, images without NaN and infinity."""
    if name in MASKS:
        return (volume > 0).astype(np.float32)
    return np.nan_to_num(volume.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _resampled(
    volumes: dict[str, NDArray], affine: NDArray[np.float64], least_spacing_mm: float, max_voxels: int
) -> DisplayVolumes:
    """Make voxels that are too fine larger; both grids cover the same space."""
    old_shape = np.array(volumes["image"].shape)
    spacing, least = np.linalg.norm(affine[:3, :3], axis=0), least_spacing_mm
    # 0.95 lets voxels of 0.97 mm pass for 1 mm: resampling them would only blur.
    shape = np.where(spacing < 0.95 * least, np.ceil(old_shape * spacing / least), old_shape).astype(int)
    while shape.prod() > max_voxels and shape.max() > 1:
        least *= 1.05
        shape = np.minimum(shape, np.ceil(old_shape * spacing / np.maximum(spacing, least)).astype(int))
    if np.array_equal(shape, old_shape):
        return DisplayVolumes({name: _clean(name, volume) for name, volume in volumes.items()}, affine)
    step = old_shape / shape
    moved = affine @ np.diag([*step, 1.0])
    moved[:3, 3] = affine[:3, :3] @ ((step - 1) / 2) + affine[:3, 3]
    resized = {}
    for name, volume in volumes.items():  # one at a time: scans whose voxels are that fine are large
        smooth = name not in _NEAREST
        resized[name] = resize(_clean(name, volume), shape, order=int(smooth), mode="edge", anti_aliasing=smooth)
    return DisplayVolumes(resized, moved)
