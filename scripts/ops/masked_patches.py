"""Masked patches of slices: masks over them (True is visible), what is left of feature maps, and the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scripts.errors import InputError, check_choice
from scripts.options.choices import PatchTarget
from torch import Tensor

__all__ = [
    "PatchTarget",
    "gather_visible",
    "hide_masked",
    "masked_patch_loss",
    "patch_grid",
    "patch_statistics",
    "reconstruct_slices",
    "resize_patch_mask",
    "sample_patch_mask",
    "scatter_visible",
]


def gather_visible(features: Tensor, visible: Tensor) -> Tensor:
    """Return the feature vectors of the visible positions, in the order slice, row, column.

    A batch norm over the result has the statistics of the visible positions alone.

    Args:
        features: feature maps [B, C, H, W].
        visible: boolean mask [B, H, W].

    Returns:
        Feature vectors [N, C] of the N visible positions.

    Raises:
        InputError: if the mask does not fit the maps.
    """
    _check(features, visible)
    return features.movedim(1, -1)[visible]


def scatter_visible(values: Tensor, visible: Tensor, *, fill: Tensor | None = None) -> Tensor:
    """Put feature vectors back to the visible positions: the inverse of `gather_visible`.

    Args:
        values: feature vectors [N, C].
        visible: boolean mask [B, H, W] with N visible positions.
        fill: feature vector [C] of the masked positions, such as a mask token; exact zeros by default.

    Returns:
        Feature maps [B, C, H, W] in the type of `values`.
    """
    start = torch.zeros_like(values[:1]).sum(0) if fill is None else fill.to(values.dtype)
    maps = start.expand(*visible.shape, values.shape[1]).index_put((visible,), values)
    return maps.movedim(-1, 1).contiguous()


def hide_masked(features: Tensor, visible: Tensor, *, value: float = 0.0) -> Tensor:
    """Set the masked positions of feature maps [B, C, H, W] to `value`, whatever they hold, NaN included.

    Raises:
        InputError: if the mask [B, H, W] does not fit the maps.
    """
    _check(features, visible)
    return features.masked_fill(~visible[:, None], value)


def _check(features: Tensor, visible: Tensor) -> None:
    expected = (features.shape[0], *features.shape[2:])
    if tuple(visible.shape) != expected or visible.dtype != torch.bool:
        got = f"{visible.dtype} {tuple(visible.shape)}"
        raise InputError(f"`visible` must be a boolean mask of the shape {expected} of the feature maps, got {got}")


def patch_grid(size: Sequence[int], patch_size: int) -> tuple[int, int]:
    """Return how many patches lie along the height and the width of a slice.

    Args:
        size: height and width of the slice, pixels.
        patch_size: side of a patch, pixels.

    Raises:
        InputError: unless both sides are multiples of `patch_size`.

    Examples:
        >>> patch_grid((96, 64), 32)
        (3, 2)
    """
    height, width = (int(side) for side in size)
    if height < 1 or width < 1 or height % patch_size or width % patch_size:
        raise InputError(
            f"slices must be a multiple of the patch of {patch_size} pixels in height and width, got {height}×{width}",
            fix=f"Crop or pad them: `grid_size` in the config, such as {_nearest(height, patch_size)}"
            f"×{_nearest(width, patch_size)}",
        )
    return height // patch_size, width // patch_size


def sample_patch_mask(
    num_slices: int, grid: Sequence[int], mask_ratio: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Sample which patches stay visible, for each slice anew, with the same number in all of them.

    Args:
        num_slices: number of slices, B.
        grid: patches along height and width.
        mask_ratio: share of the patches to mask; the nearest whole number of them is masked.
        generator: of the random numbers; torch's global one by default. The first slices of a larger sample equal
            those of a smaller one.

    Returns:
        Boolean mask [B, gh, gw] on the generator's device, True where visible.

    Raises:
        InputError: if `mask_ratio` is below 0 or not below 1, or no patch would stay visible, or none masked at a ratio
            above 0.
    """
    if not 0 <= mask_ratio < 1:
        raise InputError(f"`mask_ratio` must be at least 0 and below 1, got {mask_ratio!r}")
    rows, columns = grid
    total = rows * columns
    num_masked = round(mask_ratio * total)
    if num_masked == total or (num_masked == 0 and mask_ratio > 0):
        raise InputError(
            f"`mask_ratio` must leave a patch visible and mask one, got {mask_ratio} of {rows}×{columns} patches",
            fix="Use larger slices (`grid_size` in the config) or another `mask_ratio`",
        )
    device = generator.device if generator is not None else None
    order = torch.rand(num_slices, total, generator=generator, device=device).argsort(dim=1)
    visible = torch.ones(num_slices, total, dtype=torch.bool, device=device)
    return visible.scatter_(1, order[:, :num_masked], value=False).reshape(num_slices, rows, columns)


def resize_patch_mask(visible: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a patch mask to the resolution of a feature map, each patch becoming a square of positions.

    Args:
        visible: mask [B, gh, gw].
        size: height and width of the feature map.

    Returns:
        Mask [B, H, W].

    Raises:
        InputError: unless the patches become squares of whole positions.
    """
    height, width = (int(side) for side in size)
    factor = height // visible.shape[1]
    if (height, width) != (factor * visible.shape[1], factor * visible.shape[2]):
        grid = f"{visible.shape[1]}×{visible.shape[2]}"
        raise InputError(f"a feature map must hold each of {grid} patches as a square, got {height}×{width} positions")
    return visible.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def _nearest(side: int, patch_size: int) -> int:
    return max(1, round(side / patch_size)) * patch_size


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
        pred: what the network reconstructed [B, 1, H, W].
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


def reconstruct_slices(
    pred: Tensor, image: Tensor, masked: Tensor, *, patch_size: int, target: PatchTarget | str = PatchTarget.PER_PATCH
) -> Tensor:
    """Return the slices with their masked pixels reconstructed, to look at.

    With `per_patch` the network does not know a patch's mean and standard deviation; those of the slice are used.

    Args:
        pred: what the network reconstructed [B, 1, H, W].
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
