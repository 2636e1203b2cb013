"""Masks over the square patches of slices, for masked autoencoding: True is visible, False is masked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scripts.errors import InputError

__all__ = ["draw_patch_mask", "patch_grid", "resize_patch_mask"]


def patch_grid(size: Sequence[int], patch_size: int) -> tuple[int, int]:
    """Return how many patches lie along the height and the width of a slice.

    Args:
        size: height and width of the slice, pixels.
        patch_size: side of a patch, pixels.

    Raises:
        InputError: unless both sides are multiples of `patch_size`.
    """
    height, width = (int(side) for side in size)
    if height < 1 or width < 1 or height % patch_size or width % patch_size:
        raise InputError(
            f"slices must be a multiple of the patch of {patch_size} pixels in height and width, got {height}×{width}",
            fix=f"Crop or pad them: `grid_size` in the config, such as {_nearest(height, patch_size)}"
            f"×{_nearest(width, patch_size)}",
        )
    return height // patch_size, width // patch_size


def draw_patch_mask(
    num_slices: int, grid: Sequence[int], mask_ratio: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draw which patches stay visible, for each slice anew, with the same number in all of them.

    Args:
        num_slices: number of slices, B.
        grid: patches along height and width.
        mask_ratio: share of the patches to mask; the nearest whole number of them is masked.
        generator: where the draw comes from; torch's global one by default. The first slices of a larger draw equal
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
