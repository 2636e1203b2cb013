"""What differs between scanners and brain extractions, as augmentation of slices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from scipy import ndimage

from scripts.errors import InputError

__all__ = ["RandBrainEdged", "RandBrainNoised", "RandT2LikeContrastd"]

# T1 intensity (in the percentile window) of cerebrospinal fluid, grey matter, white matter and the brightest tissue …
_T1_KNOTS = ((0.0, 0.02), (0.12, 0.25), (0.45, 0.6), (0.78, 0.88), (1.0, 1.0))
# … and the range of the same tissues' intensity in a T2
_T2_KNOTS = ((0.9, 1.0), (0.75, 1.0), (0.4, 0.65), (0.22, 0.42), (0.1, 0.3))


class RandBrainEdged(RandomizableTransform, MapTransform):
    """Move the edge of the brain inwards, all around or in a part of the slice, as brain extractions differ.

    Args:
        keys: slices [1, H, W], 0 outside the brain.
        prob: probability of doing anything.
        max_pixels: largest depth that is taken off, pixels, at least 1.

    Raises:
        InputError: if `prob` or `max_pixels` is out of range.
    """

    def __init__(self, keys: KeysCollection, *, prob: float = 0.2, max_pixels: int = 2) -> None:
        MapTransform.__init__(self, keys)
        if not 0 <= prob <= 1:
            raise InputError(f"`prob` must be from 0 to 1, got {prob!r}")
        if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
            raise InputError(f"`max_pixels` must be a whole number from 1 on, got {max_pixels!r}")
        RandomizableTransform.__init__(self, prob)
        self.max_pixels = max_pixels

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data`, with probability `prob` with a narrower brain."""
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        for key in self.key_iterator(result):
            image = torch.as_tensor(result[key])
            brain = ndimage.binary_fill_holes((image[0] > 0).numpy())
            kept = ndimage.binary_erosion(brain, iterations=int(self.R.randint(1, self.max_pixels + 1)))
            if self.R.uniform() < 0.6:  # a part of the edge only
                field = ndimage.gaussian_filter(self.R.standard_normal(brain.shape), 12.0)
                kept = kept | (brain & (field > np.median(field)))
            result[key] = image * torch.from_numpy(kept)[None]
        return result


class RandBrainNoised(RandomizableTransform, MapTransform):
    """Add white noise inside the brain.

    Args:
        keys: slices [1, H, W] in [0, 1], 0 outside the brain.
        prob: probability of doing anything.
        max_std: largest standard deviation of the noise, of the intensity range.

    Raises:
        InputError: if `prob` or `max_std` is out of range.
    """

    def __init__(self, keys: KeysCollection, *, prob: float = 0.2, max_std: float = 0.04) -> None:
        MapTransform.__init__(self, keys)
        if not 0 <= prob <= 1:
            raise InputError(f"`prob` must be from 0 to 1, got {prob!r}")
        if not 0 <= max_std < 1:
            raise InputError(f"`max_std` must be from 0 to below 1, got {max_std!r}")
        RandomizableTransform.__init__(self, prob)
        self.max_std = max_std

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data`, with probability `prob` with noise."""
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        std = self.R.uniform(0, self.max_std)
        for key in self.key_iterator(result):
            image = torch.as_tensor(result[key])
            noise = torch.from_numpy(self.R.standard_normal(tuple(image.shape)).astype(np.float32))
            result[key] = (image + std * noise).clamp(min=0) * (image > 0)
        return result


class RandT2LikeContrastd(RandomizableTransform, MapTransform):
    """Give T1 slices the contrast of a T2: fluid bright, grey matter above white matter.

    Of many T1 scans and few T2 scans a network learns anatomy from the first and contrast from the second. The curve
    from T1 to T2-like intensity is piecewise linear through random knots, a new one each time.

    Args:
        keys: slices [1, H, W] in [0, 1], 0 outside the brain.
        modality_key: the item's modality; only `t1` items are altered, all of them.

    Raises:
        KeyError: if an item has no `modality_key`.
    """

    def __init__(self, keys: KeysCollection, *, modality_key: str = "modality") -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.modality_key = modality_key

    def _curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        given = np.array([self.R.uniform(*knot) for knot in _T1_KNOTS])
        return given, np.array([self.R.uniform(*knot) for knot in _T2_KNOTS])

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data`, T1 slices with a T2-like contrast."""
        result = dict(data)
        if str(result[self.modality_key]) != "t1":
            return result
        knots = self._curve()
        for key in self.key_iterator(result):
            image = torch.as_tensor(result[key])
            changed = torch.from_numpy(np.interp(image.numpy(), *knots).astype(np.float32))
            result[key] = changed * (image > 0)
        return result
