"""Set synthetic anomalies into healthy slices, so that a network learns to leave them out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from scipy import ndimage

from scripts.errors import InputError

__all__ = ["RandAnomalyd", "draw_anomaly"]

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]
_TRIES = 4  # shapes that miss the brain or look like the tissue are drawn again so often
_LEAST_CHANGE = 0.04  # mean absolute change inside the shape, of the intensity range


@dataclass(frozen=True)
class _Shape:
    """An anomaly's outline: its soft weight in [0, 1] and the squared normalised distance from its centre."""

    weight: Image
    depth: Image


def draw_anomaly(image: Image, brain_mask: Mask, rng: np.random.RandomState) -> tuple[Image, Image]:
    """Set one random anomaly into a slice.

    Its outline is a smooth blob or a handful of spots, with a hard or a soft edge. Inside, the tissue is replaced by
    a flat or textured intensity, made brighter or darker, blurred, exchanged for a patch from elsewhere in the slice,
    or given a core of another intensity; a halo (oedema) and a push on the tissue around (mass effect) may be added.
    Nothing here knows of a disease: the shapes and intensities are random.

    Args:
        image: [H, W] in [0, 1], 0 outside the brain.
        brain_mask: [H, W].
        rng: source of all that is random.

    Returns:
        The slice [H, W], float32 in [0, 1], 0 outside the brain; and the anomaly's weight [H, W] in [0, 1], all 0 where
        the slice was left as it was, since no visible anomaly was found.
    """
    for _ in range(_TRIES):
        shape = _spots(brain_mask, rng) if rng.uniform() < 0.3 else _blob(brain_mask, rng)
        changed = _painted(image, shape, rng)
        if rng.uniform() < 0.25:
            changed = _halo(changed, shape, rng)
        if rng.uniform() < 0.25:
            changed = _pushed(changed, shape, rng)
        changed = np.clip(changed, 0, 1) * brain_mask
        inside = shape.weight * brain_mask
        total = inside.sum()
        if total > 1 and (np.abs(changed - image) * inside).sum() / total > _LEAST_CHANGE:
            return changed.astype(np.float32), inside
    return image.astype(np.float32), np.zeros_like(image)


def _centre(brain_mask: Mask, rng: np.random.RandomState) -> tuple[int, int]:
    rows, columns = np.nonzero(brain_mask)
    k = rng.randint(len(rows))
    return int(rows[k]), int(columns[k])


def _noise(shape: tuple[int, ...], sigma: float, rng: np.random.RandomState) -> Image:
    """Return smooth noise of mean 0 and standard deviation 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def _ellipse(
    shape: tuple[int, ...], centre: tuple[int, int], radius: float, rng: np.random.RandomState
) -> Image:
    """Return the squared normalised distance from the centre of a turned ellipse: 1 on its edge."""
    angle, aspect = rng.uniform(0, np.pi), rng.uniform(0.5, 1.0)
    rows, columns = np.indices(shape, dtype=np.float64)
    y, x = rows - centre[0] + rng.uniform(-0.5, 0.5), columns - centre[1] + rng.uniform(-0.5, 0.5)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return (along / radius) ** 2 + (across / (radius * aspect)) ** 2


def _soften(inside: Mask, rng: np.random.RandomState) -> Image:
    if rng.uniform() < 0.25:
        return inside.astype(np.float64)
    return ndimage.gaussian_filter(inside.astype(np.float64), rng.uniform(0.4, 1.8))


def _blob(brain_mask: Mask, rng: np.random.RandomState) -> _Shape:
    radius = float(np.exp(rng.uniform(np.log(1.2), np.log(22.0))))
    depth = _ellipse(brain_mask.shape, _centre(brain_mask, rng), radius, rng)
    rough = rng.uniform(0, 0.5) * _noise(brain_mask.shape, max(radius / 3, 1.0), rng)
    inside = (depth + rough < 1) & brain_mask
    return _Shape(_soften(inside, rng), np.clip(depth, 0, None))


def _spots(brain_mask: Mask, rng: np.random.RandomState) -> _Shape:
    depth = np.full(brain_mask.shape, np.inf)
    for _ in range(rng.randint(2, 13)):
        radius = float(np.exp(rng.uniform(np.log(0.8), np.log(3.5))))
        depth = np.minimum(depth, _ellipse(brain_mask.shape, _centre(brain_mask, rng), radius, rng))
    return _Shape(_soften((depth < 1) & brain_mask, rng), depth)


def _flat(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    texture = rng.uniform(0, 0.12) * _noise(image.shape, rng.uniform(0.5, 3.0), rng)
    return rng.uniform(0, 1) + texture


def _shifted(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    return image + rng.choice([-1, 1]) * rng.uniform(0.1, 0.6)


def _foreign(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    margin = np.minimum(8, np.array(image.shape) // 4)
    offset = rng.randint(margin, np.array(image.shape) - margin)
    other = np.roll(image[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])], offset, axis=(0, 1))
    return np.where(other > 0, other, rng.uniform(0, 1)) * rng.uniform(0.7, 1.3)


def _blurred(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    smooth = ndimage.gaussian_filter(image, rng.uniform(1.5, 4.0))
    return smooth + rng.choice([-1, 1]) * rng.uniform(0, 0.25)


def _cored(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    rim, core = _flat(image, shape, rng), _flat(image, shape, rng)
    return np.where(shape.depth < rng.uniform(0.2, 0.7), core, rim)


_FILLINGS = (_flat, _shifted, _foreign, _blurred, _cored)
_FILLING_WEIGHTS = (0.35, 0.3, 0.12, 0.08, 0.15)


def _painted(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    filling = _FILLINGS[rng.choice(len(_FILLINGS), p=_FILLING_WEIGHTS)](image, shape, rng)
    return image + rng.uniform(0.35, 1.0) * shape.weight * (filling - image)


def _halo(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    spread = ndimage.gaussian_filter(shape.weight, rng.uniform(2.0, 6.0))
    ring = np.clip(spread / max(float(spread.max()), 1e-6) - shape.weight, 0, 1)
    return image + rng.choice([-1, 1]) * rng.uniform(0.05, 0.4) * ring


def _pushed(image: Image, shape: _Shape, rng: np.random.RandomState) -> Image:
    """Push the tissue away from the anomaly (mass effect), or pull it towards it."""
    bump = ndimage.gaussian_filter(shape.weight, rng.uniform(3.0, 8.0))
    slope = np.stack(np.gradient(bump))
    largest = float(np.sqrt((slope**2).sum(axis=0)).max())
    shift = rng.uniform(-1.5, 4.0) * slope / max(largest, 1e-6)
    return ndimage.map_coordinates(image, np.indices(image.shape) + shift, order=1, mode="nearest")


class RandAnomalyd(RandomizableTransform, MapTransform):
    """Set random anomalies into slices [1, H, W]; see `draw_anomaly`.

    The slice as it was goes to another key: a network that is shown the altered slice and scored against the healthy
    one learns to take anomalies out. It still learns from healthy scans alone.

    Args:
        keys: slices in [0, 1].
        healthy_key: where the unaltered slice goes, the same tensor where nothing was altered.
        mask_key: brain mask [1, H, W] of the slice; None takes the pixels above 0.
        prob: probability of setting anything in.
        max_anomalies: largest number of anomalies in a slice, at least 1; fewer are as likely as many.

    Raises:
        InputError: if `prob` or `max_anomalies` is out of range.

    References:
        Training on synthetic anomalies for reconstruction: Naval Marimont et al. 2024 (DISYRE),
        doi:10.1109/ISBI56570.2024.10635828.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        healthy_key: str = "healthy",
        mask_key: str | None = None,
        prob: float = 0.65,
        max_anomalies: int = 3,
    ) -> None:
        MapTransform.__init__(self, keys)
        if not 0 <= prob <= 1:
            raise InputError(f"`prob` must be from 0 to 1, got {prob!r}")
        if isinstance(max_anomalies, bool) or not isinstance(max_anomalies, int) or max_anomalies < 1:
            raise InputError(f"`max_anomalies` must be a whole number from 1 on, got {max_anomalies!r}")
        RandomizableTransform.__init__(self, prob)
        self.healthy_key, self.mask_key, self.max_anomalies = healthy_key, mask_key, max_anomalies

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with the unaltered slice under `healthy_key`, and anomalies with probability `prob`."""
        result = dict(data)
        self.randomize(None)
        for key in self.key_iterator(result):
            healthy = torch.as_tensor(result[key])
            result[self.healthy_key] = healthy
            mask = healthy if self.mask_key is None else torch.as_tensor(result[self.mask_key])
            brain = (mask[0] > 0).numpy()
            if self._do_transform and brain.any():
                altered = healthy[0].numpy()
                for _ in range(self.R.randint(1, self.max_anomalies + 1)):
                    altered, _ = draw_anomaly(altered, brain, self.R)
                result[key] = torch.from_numpy(np.ascontiguousarray(altered))[None]
        return result
