"""Checks shared by the metrics: arrays of one shape, finite scores, binary targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scripts.errors import InputError

__all__ = ["checked_mask", "checked_pair", "checked_scores"]


def checked_scores(scores: ArrayLike, *, name: str = "scores") -> NDArray[np.floating]:
    """Return `scores` as a floating array after checking that every value is finite.

    Args:
        scores: any shape and real dtype; the dtype is kept when it is a floating one, else it becomes float64.
        name: the argument's name in the error message.

    Raises:
        InputError: when a value is NaN or infinite.
    """
    array = np.asarray(scores)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise InputError(f"`{name}` must be finite, got {bad} NaN or infinite values of {array.size}")
    return array


def checked_mask(mask: ArrayLike, *, name: str = "target") -> NDArray[np.bool_]:
    """Return `mask` as a boolean array after checking that it holds nothing but 0 and 1.

    Raises:
        InputError: when another value is in it.
    """
    array = np.asarray(mask)
    if array.dtype == np.bool_:
        return array
    if not np.all((array == 0) | (array == 1)):
        other = np.unique(array[(array != 0) & (array != 1)])[:3].tolist()
        raise InputError(f"`{name}` must hold only 0 and 1, got {other}")
    return array.astype(np.bool_)


def checked_pair(scores: ArrayLike, target: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return scores and target flattened, after checking values and that their shapes agree.

    Raises:
        InputError: when the shapes differ, a score is not finite or the target is not binary.
    """
    score_array, target_array = checked_scores(scores), checked_mask(target)
    if score_array.shape != target_array.shape:
        raise InputError(
            f"`scores` and `target` must have the same shape, got {score_array.shape} and {target_array.shape}"
        )
    return score_array.ravel(), target_array.ravel()
