"""Axial slices out of volumes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable

from scripts.errors import InputError

__all__ = ["AxialSlicesd", "RandAxialSliced", "brain_slices"]


def brain_slices(mask: torch.Tensor, *, min_share: float = 0.02) -> torch.Tensor:
    """Return the indices of the axial slices of a mask [1, H, W, D] that hold brain.

    Args:
        mask: voxels above 0 are brain.
        min_share: the least share of a slice's pixels that must be brain; 0 takes any slice with one brain pixel.

    Returns:
        Indices along the last axis, int64; all slices if none holds enough.
    """
    share = (torch.as_tensor(mask[0]) > 0).float().mean(dim=(0, 1))
    found = torch.nonzero(share > min_share).flatten()
    return found if len(found) else torch.arange(mask.shape[-1])


class RandAxialSliced(Randomizable, MapTransform):
    """Take one random axial slice that holds brain, the same for all keys: [C, H, W, D] → [C, H, W].

    Args:
        keys: volumes on one grid.
        mask_key: the brain mask.
        min_share: the least share of the slice's pixels that must be brain.
        thick_prob: probability of averaging neighbouring slices of what is no mask, as thick-slice scans do.
        max_thickness: largest number of slices that are averaged.

    Raises:
        InputError: if `thick_prob` or `max_thickness` is out of range.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_key: str = "brain_mask",
        min_share: float = 0.02,
        thick_prob: float = 0.0,
        max_thickness: int = 3,
    ) -> None:
        super().__init__(keys)
        if not 0 <= thick_prob <= 1:
            raise InputError(f"`thick_prob` must be from 0 to 1, got {thick_prob!r}")
        if isinstance(max_thickness, bool) or not isinstance(max_thickness, int) or max_thickness < 1:
            raise InputError(f"`max_thickness` must be a whole number from 1 on, got {max_thickness!r}")
        self.mask_key = mask_key
        self.min_share = min_share
        self.thick_prob, self.max_thickness = thick_prob, max_thickness

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with slices."""
        result = dict(data)
        mask = result[self.mask_key]
        candidates = brain_slices(mask, min_share=self.min_share)
        index = int(candidates[self.R.randint(len(candidates))])
        thick = self.thick_prob > 0 and self.R.uniform() < self.thick_prob
        count = int(self.R.randint(2, self.max_thickness + 1)) if thick and self.max_thickness > 1 else 1
        first = max(0, index - count // 2)
        inside = mask[..., index] > 0
        for key in self.key_iterator(result):
            if key == self.mask_key or count == 1:
                result[key] = result[key][..., index].clone()
            else:
                result[key] = result[key][..., first : first + count].mean(dim=-1) * inside
        return result


class AxialSlicesd(MapTransform):
    """Take evenly spaced axial slices that hold brain: a list of cases [C, H, W] from one case [C, H, W, D].

    Args:
        keys: volumes on one grid; other entries are repeated.
        num_slices: how many.
        mask_key: the brain mask.
        min_share: the least share of a slice's pixels that must be brain.

    Raises:
        ValueError: if `num_slices` is below 1.
    """

    def __init__(
        self, keys: KeysCollection, *, num_slices: int = 8, mask_key: str = "brain_mask", min_share: float = 0.02
    ) -> None:
        super().__init__(keys)
        if num_slices < 1:
            raise ValueError(f"`num_slices` must be at least 1, got {num_slices}.")
        self.num_slices = num_slices
        self.mask_key = mask_key
        self.min_share = min_share

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> list[dict[Hashable, torch.Tensor]]:
        """Return the slices, from below to above."""
        candidates = brain_slices(data[self.mask_key], min_share=self.min_share)
        picks = torch.linspace(0, len(candidates) - 1, min(self.num_slices, len(candidates))).round().long()
        slices = []
        for index in candidates[picks].tolist():
            item = dict(data)
            for key in self.key_iterator(item):
                item[key] = data[key][..., index].clone()
            slices.append(item)
        return slices
