"""Make small head phantoms for tests and demonstrations, from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["PhantomModality", "phantom_affine", "phantom_volume"]

BRAIN_CENTRE_MM = (-1.0, -19.0, 7.0)
MIN_SIZE = 8


class PhantomModality(StrEnum):
    """Contrasts that a phantom can have."""

    T1 = "t1"
    T2 = "t2"


# Mean intensity of white matter, cortex, fluid and lesion.
CONTRAST = {
    PhantomModality.T1: (0.85, 0.60, 0.20, 0.30),
    PhantomModality.T2: (0.35, 0.50, 0.90, 0.75),
}


def phantom_volume(
    shape: Sequence[int] = (24, 24, 16),
    seed: int = 0,
    modality: str = PhantomModality.T1,
    *,
    lesion: bool = False,
    lesion_radius: float = 0.25,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Make a skull-stripped head phantom: a folded cortex, white matter, two ventricles, texture and a bias field.

    A seed fixes the anatomy: both modalities of a seed, with or without lesion, show the same head. The lesion lies in
    one hemisphere, is dark in T1 and bright in T2, and changes nothing outside of its label.

    Args:
        shape: voxels along x, y, z, at least 8 each.
        seed: seed of the anatomy, the texture and the lesion's place.
        modality: t1 or t2.
        lesion: whether there is a lesion.
        lesion_radius: mean semi-axis of the lesion in units of the brain's semi-axes, above 0 and at most 0.4.

    Returns:
        Image, float32 in [0, 1], exactly 0 outside the brain and at least 0.05 in it; brain mask and lesion label,
        uint8, 0 or 1. All of the shape `shape`.

    Raises:
        ValueError: if an argument is out of its range.
    """
    size = _check_shape(shape)
    if modality not in tuple(PhantomModality):
        raise ValueError(f"`modality` must be one of {', '.join(PhantomModality)}, got {modality!r}")
    if not 0 < lesion_radius <= 0.4:
        raise ValueError(f"`lesion_radius` must be above 0 and at most 0.4, got {lesion_radius!r}")
    anatomy, texture, place = (np.random.default_rng([seed, stream]) for stream in range(3))
    position = _brain_coordinates(size, anatomy)
    brain = np.linalg.norm(position, axis=0) <= 1
    white, cortex, fluid, injured = CONTRAST[PhantomModality(modality)]
    image = np.where(_white_matter(position, anatomy), white, cortex)
    image = np.where(_ventricles(position, anatomy), fluid, image)
    label = _lesion(position, place, radius=lesion_radius) & brain
    if lesion:
        image = np.where(label, injured, image)
    image = image * (1 + 0.04 * _smooth_noise(size, texture, 0.25)) + 0.02 * _smooth_noise(size, texture, 0.03)
    image = np.where(brain, np.clip(image, 0.05, 1), 0)
    return image.astype(np.float32), brain.astype(np.uint8), (label & lesion).astype(np.uint8)


def phantom_affine(shape: Sequence[int] = (24, 24, 16), spacing: float | Sequence[float] = 2.0) -> NDArray[np.float64]:
    """Return the RAS affine that puts the centre of a phantom where MNI152 has the brain's centre, (-1, -19, 7) mm.

    For 96 x 96 x 80 voxels of 2 mm that is the grid of the template, with its origin at (-96, -114, -72) mm.

    Args:
        shape: voxels along x, y, z, at least 8 each.
        spacing: voxel size, mm; one for all axes or one each.

    Returns:
        4 x 4 matrix, voxel index to mm.

    Raises:
        ValueError: if an argument is out of its range.
    """
    size = _check_shape(shape)
    steps = [*spacing] if isinstance(spacing, Sequence) else [spacing] * 3
    if len(steps) != 3 or not all(isinstance(step, int | float) and 0 < step < np.inf for step in steps):
        raise ValueError(f"`spacing` must be one or three lengths in mm above 0, got {spacing!r}")
    affine = np.diag([*map(float, steps), 1.0])
    affine[:3, 3] = np.array(BRAIN_CENTRE_MM) - affine.diagonal()[:3] * (np.array(size) - 1) / 2
    return affine


def _check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    valid = isinstance(shape, Sequence) and len(shape) == 3
    if not valid or not all(isinstance(n, Integral) and n >= MIN_SIZE for n in shape):
        raise ValueError(f"`shape` must be three numbers of voxels from {MIN_SIZE} on, got {shape!r}")
    return int(shape[0]), int(shape[1]), int(shape[2])


def _brain_coordinates(size: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return x, y, z of every voxel, [3, X, Y, Z], in units of the brain's semi-axes, 0 at its centre."""
    semi_axes = 0.42 * np.array(size) * rng.uniform(0.96, 1.04, 3)
    centre = (np.array(size) - 1) / 2
    return (np.indices(size) - centre[:, None, None, None]) / semi_axes[:, None, None, None]


def _white_matter(position: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    x, y, z = position
    phase = rng.uniform(0, 2 * np.pi, 2)
    folds = np.sin(6 * np.arctan2(y, x) + phase[0]) * np.cos(5 * z + phase[1])
    return np.linalg.norm(position, axis=0) < 0.76 + 0.06 * folds


def _ventricles(position: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    x, y, z = position
    semi_axes = np.array([0.12, 0.36, 0.22]) * rng.uniform(0.85, 1.15, 3)
    distance = ((np.abs(x) - 0.16) / semi_axes[0]) ** 2 + (y / semi_axes[1]) ** 2 + ((z - 0.1) / semi_axes[2]) ** 2
    return distance <= 1


def _lesion(position: NDArray[np.float64], rng: np.random.Generator, *, radius: float) -> NDArray[np.bool_]:
    centre = rng.uniform([0.42, -0.35, -0.2], [0.5, 0.35, 0.3]) * [rng.choice([-1, 1]), 1, 1]
    semi_axes = radius * rng.uniform(0.85, 1.15, 3)
    distance = np.linalg.norm((position - centre[:, None, None, None]) / semi_axes[:, None, None, None], axis=0)
    # The voxel nearest to the centre belongs to the lesion however small it is.
    return distance <= max(1.0, float(distance.min()))


def _smooth_noise(size: tuple[int, int, int], rng: np.random.Generator, width: float) -> NDArray[np.float64]:
    """Return noise of standard deviation 1 that is smooth over `width` of every axis."""
    noise = gaussian_filter(rng.standard_normal(size), [width * n for n in size], mode="wrap")
    return noise / max(float(noise.std()), np.finfo(float).tiny)
