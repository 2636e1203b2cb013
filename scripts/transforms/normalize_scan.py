"""Bring scans to one offset and one scale before anything looks at them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from scripts.scans.intensity import fill_background, normalized
from scripts.scans.volume import as_float32

__all__ = ["NormalizeScansd"]


class NormalizeScansd(MapTransform):
    """Give images [1, H, W, D] a background of 0 and a brightest tissue between 512 and 1024, as float32.

    Without it, steps with an absolute threshold (curvature flow) and those that blank voxels by 0 would give other
    results for a scan in other units, or with an offset. A background of NaN becomes 0 too. Images that `CheckImaged`
    refuses pass unchanged.

    Args:
        keys: images, never masks.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(self, keys: KeysCollection, *, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with float32 images."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            if image.ndim != 4 or image.shape[0] != 1:
                continue
            volume = fill_background(as_float32(image)[0])
            if np.isfinite(volume).all() and volume.min() < volume.max():
                volume = normalized(volume)
            result[key] = convert_to_dst_type(volume[None], image, dtype=torch.float32)[0]
        return result
