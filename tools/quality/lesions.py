"""What is set into healthy scans to see whether quality control minds it: lesions, other contrasts, noise, places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = [
    "CONTRASTS",
    "KINDS",
    "Kind",
    "Lesion",
    "misplaced",
    "noises",
    "on_grid",
    "paint",
    "recoloured",
    "sample_lesion",
]

# Brightness of fluid, grey and white matter, and the noise's deviation.
CONTRASTS = {
    "FLAIR": ((12, 100, 80), 2),
    "FLAIR, little contrast": ((25, 100, 90), 3),
    "CT, window 0 to 80 HU": ((8, 37, 29), 4),
    "CT, little contrast": ((10, 36, 32), 4),
    "CT without grey and white matter": ((8, 35, 35), 4),
    "CT with its offset of 1024": ((1032, 1061, 1053), 4),
    "proton density": ((92, 100, 78), 2),
}


def recoloured(
    image: NDArray, brain: NDArray[np.bool_], *, modality: str, levels: tuple[float, ...], noise: float, seed: int = 0
) -> NDArray[np.float32]:
    """Give fluid, grey and white matter of a T1 or T2 other brightnesses, whatever lies between them accordingly.

    Args:
        image: [H, W, D].
        brain: its mask; 0 outside.
        modality: t1 or t2, which says in what order the tissues' brightnesses come.
        levels: brightness of fluid, grey and white matter.
        noise: deviation of what is added, smoothed a little.
        seed: of the noise.
    """
    values = image[brain]
    centres = np.percentile(values, [10, 50, 85])
    for _ in range(30):  # Lloyd's algorithm in one dimension
        number = np.searchsorted((centres[:-1] + centres[1:]) / 2, values)
        centres = np.array([values[number == k].mean() for k in range(3)])
    order = levels if modality == "t1" else levels[::-1]
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(image.shape), 0.6)
    return np.where(brain, np.interp(image, centres, order) + noise * grain / grain.std(), 0).astype(np.float32)


def noises(brain: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield noise in a brain's mask, from white to lobes."""
    for sigma in (0.0, 1.0, 2.0, 4.0):
        grain = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(brain.shape), sigma)
        name = f"noise smoothed by {2 * sigma:g} mm" if sigma else "white noise"
        yield name, np.where(brain, 100 + 20 * grain / grain.std(), 0).astype(np.float32)


def misplaced(image: NDArray, brain: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Yield a scan on the template grid, and its mask, where they do not belong."""
    for name, axes in (("upside down", (2,)), ("front and back swapped", (1,)), ("turned by 180°", (1, 2))):
        yield name, np.flip(image, axes), np.flip(brain, axes)
    yield "20 mm off", np.roll(image, 10, 1), np.roll(brain, 10, 1)
    turned = [ndimage.rotate(a, 30, axes=(1, 2), reshape=False, order=1) for a in (image, brain.astype(np.float32))]
    yield "nodding by 30°", turned[0], turned[1] > 0.5


_COARSE = 2  # shapes are made on a grid of half the resolution
_BUMP_SIGMA = 3.0  # coarse voxels, of the bulge that pushes the tissue away
_CORE, _RIM, _RIM_WIDTH = 0.4, 0.25, 0.12  # depths


class Kind(StrEnum):
    """What a lesion looks like."""

    BRIGHT = "bright"
    DARK = "dark"
    CORE = "bright with a dark core"
    RIM = "bright rim"
    OEDEMA = "very bright oedema around a core"


KINDS = {"t1": (Kind.DARK, Kind.RIM, Kind.BRIGHT), "t2": (Kind.BRIGHT, Kind.CORE, Kind.RIM, Kind.DARK, Kind.OEDEMA)}


@dataclass(frozen=True)
class Lesion:
    """A lesion without an intensity, on some grid.

    Attributes:
        weight: [H, W, D], 0 to 1.
        depth: [H, W, D], 0 at the edge to 1 in the middle.
        texture: [H, W, D], noise of mean 0 and deviation 1.
        shift_mm: [3, H, W, D], from where each voxel's tissue comes, mm of the world.
    """

    weight: NDArray[np.floating]
    depth: NDArray[np.floating]
    texture: NDArray[np.floating]
    shift_mm: NDArray[np.floating]


def sample_lesion(
    brain: NDArray[np.bool_],
    spacing_mm: float,
    *,
    volume_ml: float,
    push_mm: float,
    shape: NDArray[np.bool_] | None,
    rng: np.random.Generator,
) -> Lesion:
    """Sample a lesion of a given volume: a smooth random blob, or a real lesion's shape grown or shrunk to it.

    Args:
        brain: [H, W, D] of even lengths.
        spacing_mm: voxel edge.
        volume_ml: its volume.
        push_mm: how far the tissue around is pushed away at most.
        shape: the shape to begin with, on the same grid; None for a blob.
        rng: source of all that is random.
    """
    coarse = (slice(None, None, _COARSE),) * 3
    small = brain[coarse]
    noise = ndimage.gaussian_filter(rng.standard_normal(small.shape), 2.0, mode="wrap")
    noise /= noise.std()
    if shape is None:
        inner = np.argwhere(ndimage.binary_erosion(small, iterations=2))
        centre = inner[rng.integers(len(inner))].reshape(3, 1, 1, 1)
        stretch = rng.uniform(0.7, 1.4, (3, 1, 1, 1))
        score = -np.linalg.norm((np.indices(small.shape) - centre) * stretch, axis=0) + rng.uniform(0.5, 2.5) * noise
    else:
        seed = shape[coarse]
        score = ndimage.distance_transform_edt(seed) - ndimage.distance_transform_edt(~seed) + 0.3 * noise
    count = int(np.clip(volume_ml * 1000 / (spacing_mm * _COARSE) ** 3, 1, small.sum() - 1))
    label = small & (score >= np.partition(score[small], -count)[-count])
    depth = ndimage.distance_transform_edt(label)
    bump = ndimage.gaussian_filter(label.astype(np.float64), _BUMP_SIGMA)
    slope = np.stack(np.gradient(bump)) * ndimage.gaussian_filter(small.astype(np.float64), 1.0)
    shift = push_mm * slope / np.linalg.norm(slope, axis=0).max()
    weight = ndimage.gaussian_filter(label.astype(np.float64), 0.5)
    fields = [weight, depth / depth.max(), noise, *shift]
    options = {"order": 1, "grid_mode": True, "mode": "nearest"}
    fine = [ndimage.zoom(field.astype(np.float32), _COARSE, **options) for field in fields]
    return Lesion(fine[0] * brain, fine[1], np.roll(fine[2], 7, axis=0), np.stack(fine[3:]))


def on_grid(lesion: Lesion, to_lesion: NDArray, shape: tuple[int, ...]) -> Lesion:
    """Resample a lesion linearly.

    Args:
        lesion: the lesion on its grid.
        to_lesion: voxel of the new grid to voxel of that one, [4, 4].
        shape: voxels of the new grid.
    """
    fields = [lesion.weight, lesion.depth, lesion.texture, *lesion.shift_mm]
    moved = [ndimage.affine_transform(field, to_lesion, output_shape=shape, order=1) for field in fields]
    return Lesion(moved[0], moved[1], moved[2], np.stack(moved[3:]))


def paint(
    image: NDArray, brain: NDArray[np.bool_], world_to_voxel: NDArray, lesion: Lesion, *, kind: Kind, modality: str,
    rng: np.random.Generator,
) -> NDArray[np.float32]:  # fmt: skip
    """Set a lesion into a scan, with or without its skull.

    Args:
        image: [H, W, D].
        brain: its brain mask; nothing changes outside of it.
        world_to_voxel: [3, 3], the linear part of the way from the shift's world to the scan's voxels.
        lesion: on the scan's grid.
        kind: its looks.
        modality: t1 or t2.
        rng: source of its exact brightness.
    """
    low, lower, middle, upper, high = np.percentile(image[brain], [5, 25, 50, 75, 99])
    voxels = np.einsum("ij,jxyz->ixyz", world_to_voxel, lesion.shift_mm)
    pushed = ndimage.map_coordinates(image, np.indices(image.shape) + voxels, order=1, mode="nearest")
    bright = high * rng.uniform(0.9, 1.6) if modality == "t2" else upper + rng.uniform(0.2, 1.0) * (high - upper)
    dark = low if modality == "t1" else low + 0.3 * (lower - low)
    rim = np.exp(-(((lesion.depth - _RIM) / _RIM_WIDTH) ** 2))
    inside = {
        Kind.BRIGHT: bright,
        Kind.DARK: dark,
        Kind.CORE: np.where(lesion.depth > _CORE, dark, bright),
        Kind.RIM: dark + (bright - dark) * rim,
        Kind.OEDEMA: np.where(lesion.depth > _CORE, middle, 1.2 * bright),
    }[kind]
    texture = 0.1 * (upper - lower) * lesion.texture
    strength = rng.uniform(0.75, 1.0) * np.clip(lesion.weight, 0, 1)
    changed = pushed + strength * (inside + texture - pushed)
    return np.where(brain, np.maximum(changed, 1e-3 * high), image).astype(np.float32)
