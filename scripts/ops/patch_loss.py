"""The loss of masked autoencoding: squared error over the masked pixels, on plain or per-patch normalised slices."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from scripts.ops.checks import check_choice
from scripts.ops.patch_mask import patch_grid

__all__ = ["PatchTarget", "masked_patch_loss", "patch_statistics", "rebuild_slices"]


class PatchTarget(StrEnum):
    """What a network rebuilds of a patch."""

    PER_PATCH = "per_patch"  # its pixels at mean 0 and standard deviation 1 of the patch
    PLAIN = "plain"


def patch_statistics(image: Tensor, patch_size: int, *, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation √(variance + eps) of each pixel's patch.

    Args:
        image: slices [B, 1, H, W].
        patch_size: side of the patches, pixels; H and W are multiples of it.
        eps: keeps the standard deviation of a constant patch above 0; such a patch is normalised to zeros.

    Returns:
        Both [B, 1, H, W], constant in each patch. The variance divides by the number of pixels.

    Raises:
        InputError: if H or W is not a multiple of `patch_size`.
    """
    rows, columns = patch_grid(image.shape[-2:], patch_size)
    patches = image.reshape(*image.shape[:-2], rows, patch_size, columns, patch_size)
    variance, mean = torch.var_mean(patches, dim=(-3, -1), correction=0, keepdim=True)
    std = (variance + eps).sqrt()
    return mean.expand_as(patches).reshape(image.shape), std.expand_as(patches).reshape(image.shape)


def masked_patch_loss(
    pred: Tensor, image: Tensor, masked: Tensor, *, patch_size: int, target: PatchTarget | str = PatchTarget.PER_PATCH
) -> Tensor:
    """Return the mean squared error over the masked pixels of all slices, in float32 or wider.

    Args:
        pred: what the network rebuilt [B, 1, H, W].
        image: the slices [B, 1, H, W].
        masked: pixels to count [B, 1, H, W], above 0 where masked.
        patch_size: side of the patches, pixels.
        target: `per_patch` compares `pred` with each patch at mean 0 and standard deviation 1, `plain` with the slice.

    Returns:
        A scalar; 0 if no pixel is masked.

    Raises:
        InputError: if `target` is unknown, or H or W is not a multiple of `patch_size`.

    References:
        Tian et al., ICLR 2023, arXiv:2301.03580, section 3.3; per-patch normalisation: He et al., CVPR 2022,
        doi:10.1109/CVPR52688.2022.01553.
    """
    dtype = torch.promote_types(pred.dtype, torch.float32)
    wanted = image.to(dtype)
    mean, std = _moments(wanted, patch_size, target)
    wanted = (wanted - mean) / std
    counted = masked > 0
    error = (pred.to(dtype) - wanted).square().masked_fill(~counted, 0.0)
    return error.sum() / counted.sum().clamp(min=1)


def rebuild_slices(
    pred: Tensor, image: Tensor, masked: Tensor, *, patch_size: int, target: PatchTarget | str = PatchTarget.PER_PATCH
) -> Tensor:
    """Return the slices with their masked pixels rebuilt, to look at.

    With `per_patch` the network does not know a patch's mean and standard deviation; those of the slice are used.

    Args:
        pred: what the network rebuilt [B, 1, H, W].
        image: the slices [B, 1, H, W].
        masked: above 0 where masked [B, 1, H, W].
        patch_size: side of the patches, pixels.
        target: what `pred` was trained on, as in `masked_patch_loss`.

    Returns:
        Slices [B, 1, H, W] in the type of `image`, equal to it where visible.

    Raises:
        InputError: as `masked_patch_loss`.
    """
    mean, std = _moments(image, patch_size, target)
    return torch.where(masked > 0, pred.to(image.dtype) * std + mean, image)


def _moments(image: Tensor, patch_size: int, target: PatchTarget | str) -> tuple[Tensor, Tensor]:
    """Return what is taken from a slice and what it is then divided by, to get the target of the network."""
    if check_choice(PatchTarget, target, "target") == PatchTarget.PER_PATCH:
        return patch_statistics(image, patch_size)
    return torch.zeros_like(image), torch.ones_like(image)
