"""Average voxels that are finer than the network needs, so that their noise is averaged too and not sampled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ensure_tuple
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from scripts.scans.volume import as_float32

__all__ = ["AverageVoxelsd"]

_MAX_FACTOR = 8


class AverageVoxelsd(MapTransform, InvertibleTransform):
    """Bring a case [1, H, W, D] to voxels of about 1 mm by the mean of whole voxels; `Invertd` takes results back.

    Along an axis with voxels of `edge` mm, `round(spacing_mm / edge)` voxels become one, so that edges from two thirds
    of `spacing_mm` on stay as they are. Of images the mean is that of the voxels inside the brain mask; masks and
    labels keep voxels of which at least half were set.

    Args:
        keys: images, masks and labels of one grid.
        mask_key: the brain mask, one of the keys.
        mask_keys: those of the keys that hold masks and labels.
        spacing_mm: edge that is enough, mm.
        allow_missing_keys: whether a key may be absent.

    Raises:
        ValueError: if `spacing_mm` is not positive.
        TypeError: on calling, if an image carries no affine.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_key: str = "brain_mask",
        mask_keys: KeysCollection = ("brain_mask", "label"),
        spacing_mm: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if spacing_mm <= 0:
            raise ValueError(f"`spacing_mm` must be positive, got {spacing_mm}.")
        self.mask_key = mask_key
        self.mask_keys = ensure_tuple(mask_keys)
        self.spacing_mm = spacing_mm

    def _factors(self, image: torch.Tensor) -> list[int]:
        if not isinstance(image, MetaTensor):
            raise TypeError(f"the image must be a MetaTensor with an affine, got {type(image).__name__}.")
        edges = np.linalg.norm(np.asarray(image.affine, dtype=np.float64)[:3, :3], axis=0)
        wanted = np.clip(np.round(self.spacing_mm / edges), 1, _MAX_FACTOR).astype(int)
        return [min(int(factor), size) for factor, size in zip(wanted, image.shape[1:], strict=True)]

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with averaged images, float32, and masks; as they are where nothing is to be averaged."""
        result = dict(data)
        brain = as_float32(result[self.mask_key])[0] > 0
        for key in self.key_iterator(result):
            image: Any = result[key]
            factors = self._factors(image)
            own = image.affine.clone()
            if max(factors) > 1:
                volume = as_float32(image)[0]
                small = _majority(volume, factors) if key in self.mask_keys else _mean_inside(volume, brain, factors)
                image = MetaTensor(
                    torch.as_tensor(small[None], dtype=image.dtype if key in self.mask_keys else torch.float32),
                    meta={**image.meta, "affine": _coarse(own, factors)},
                    applied_operations=image.applied_operations,
                )
            shape = list(data[key].shape[1:])
            result[key] = self.push_transform(image, extra_info={"affine": own, "shape": shape, "factors": factors})
        return result

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` on the grid that it came from, interpolated linearly."""
        result = dict(data)
        for key in self.key_iterator(result):
            image: Any = result[key].clone()
            facts = self.pop_transform(image)["extra_info"]
            if max(facts["factors"]) > 1:
                fine = np.stack([_spread(volume, facts["factors"], facts["shape"]) for volume in as_float32(image)])
                image = MetaTensor(
                    torch.as_tensor(fine),
                    meta={**image.meta, "affine": facts["affine"]},
                    applied_operations=image.applied_operations,
                )
            result[key] = image
        return result


def _coarse(affine: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    to_fine = np.diag([*map(float, factors), 1.0])
    to_fine[:3, 3] = (np.asarray(factors) - 1) / 2
    return affine.to(torch.float64) @ torch.as_tensor(to_fine)


def _sums(volume: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    padded = np.pad(volume, [(0, -size % factor) for size, factor in zip(volume.shape, factors, strict=True)])
    split = [part for size, factor in zip(padded.shape, factors, strict=True) for part in (size // factor, factor)]
    return padded.reshape(split).sum(axis=(1, 3, 5), dtype=np.float32)


def _mean_inside(volume: NDArray, brain: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    counts = _sums(brain, factors)
    return np.where(counts > 0, _sums(volume * brain, factors) / np.maximum(counts, 1), 0).astype(np.float32)


def _majority(mask: NDArray, factors: Sequence[int]) -> NDArray[np.bool_]:
    return _sums(mask > 0, factors) >= _sums(np.ones(mask.shape, dtype=np.float32), factors) / 2


def _spread(volume: NDArray, factors: Sequence[int], shape: Sequence[int]) -> NDArray[np.float32]:
    steps = 1 / np.asarray(factors)
    offset = -(np.asarray(factors) - 1) / 2 * steps
    return affine_transform(volume, steps, offset, output_shape=tuple(shape), order=1, mode="nearest")
