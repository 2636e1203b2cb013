"""Shared argument checks of the tensor functions: one wording for each mistake."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scripts.errors import InputError
from torch import Tensor

__all__ = ["check_finite", "check_non_negative", "check_odd", "check_positive", "check_scales", "check_volumes"]


def check_positive(value: float, name: str) -> None:
    """Raise `InputError` unless `value` is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"`{name}` must be a finite number above zero, got {value!r}")


def check_scales(value: float | Sequence[float], name: str) -> list[float]:
    """Return one scale or several as a list; raise `InputError` unless each is a finite number above zero."""
    scales = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not scales or any(isinstance(scale, bool | str) for scale in scales):
        raise InputError(f"`{name}` must be a number above zero or several, got {value!r}")
    for scale in scales:
        check_positive(scale, name)
    return scales


def check_non_negative(value: float, name: str) -> None:
    """Raise `InputError` unless `value` is zero or a finite number above it."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"`{name}` must be zero or a finite number above it, got {value!r}")


def check_odd(value: int, name: str) -> None:
    """Raise `InputError` unless `value` is an odd whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
        raise InputError(f"`{name}` must be an odd whole number of at least 1, got {value!r}")


def check_volumes(**volumes: Tensor) -> None:
    """Raise `InputError` unless all tensors are `[S, H, W]` of one shape, none empty, on one device.

    Args:
        volumes: the tensors by argument name; the first one sets the shape and the device.
    """
    (first, reference), *others = volumes.items()
    if reference.ndim != 3 or reference.numel() == 0:
        raise InputError(f"`{first}` must be a non-empty [S, H, W] tensor, got shape {tuple(reference.shape)}")
    for name, volume in others:
        if volume.shape != reference.shape:
            shapes = f"{tuple(reference.shape)}, got {tuple(volume.shape)}"
            raise InputError(f"`{name}` must have the shape of `{first}`, {shapes}")
        if volume.device != reference.device:
            raise InputError(f"`{name}` must be on the device of `{first}`, {reference.device}, got {volume.device}")


def check_finite(**tensors: Tensor) -> None:
    """Raise `InputError` for the first tensor that holds a NaN or an infinity, and say how many it holds."""
    for name, tensor in tensors.items():
        total = tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32))
        if bool(torch.isfinite(total)):  # a NaN or an infinity would stay in the sum, and a sum is quicker to look at
            continue
        count = int((~torch.isfinite(tensor)).sum())
        if count:
            raise InputError(f"`{name}` must be finite, got {count} NaN or infinite of {tensor.numel()} values")
