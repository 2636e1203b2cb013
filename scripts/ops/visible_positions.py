"""Visible positions of feature maps: gathered into a list, and put back; what lies between never sees a masked one."""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.errors import InputError

__all__ = ["gather_visible", "hide_masked", "scatter_visible"]


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
