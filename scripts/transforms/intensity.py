"""Intensity windows taken inside the brain."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.errors import InputError
from scripts.scans.volume import as_float32, source_path

__all__ = ["ScaleByMaskPercentilesd"]


class ScaleByMaskPercentilesd(MapTransform):
    """Map percentiles inside the brain mask to [0, 1], clip, and set everything outside the mask to 0.

    Args:
        keys: images [1, H, W, D].
        mask_key: the brain mask [1, H, W, D].
        lower: lower percentile, in percent.
        upper: upper percentile, in percent.
        allow_missing_keys: whether a key may be absent.

    Raises:
        ValueError: if not 0 <= lower < upper <= 100.
        InputError: on calling, if the mask is empty or the window has no width.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_key: str = "brain_mask",
        lower: float = 1.0,
        upper: float = 99.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= lower < upper <= 100:
            raise ValueError(f"`lower` and `upper` must be 0 <= lower < upper <= 100, got {lower} and {upper}.")
        self.mask_key = mask_key
        self.lower = lower
        self.upper = upper

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with scaled float32 images."""
        result = dict(data)
        mask = torch.as_tensor(result[self.mask_key]) > 0
        for key in self.key_iterator(result):
            inside = as_float32(result[key])[mask.cpu().numpy()]
            if inside.size == 0:
                raise InputError("the brain mask is empty", path=source_path(result[key]), fix="Check the brain mask.")
            low, high = np.percentile(inside, [self.lower, self.upper])
            if high <= low:
                raise InputError(
                    f"the brain is constant between percentiles {self.lower:g} and {self.upper:g} ({low:g})",
                    path=source_path(result[key]),
                    fix="Give a scan with tissue contrast, or a brain mask that fits it.",
                )
            scaled = ((result[key].float() - float(low)) / float(high - low)).clamp(0, 1)
            result[key] = scaled * mask
        return result
