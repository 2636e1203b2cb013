"""Refuse options that a reader typed into another program, in words that reach that reader."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

from scripts.errors import InputError
from scripts.options import AUTO, number

__all__ = ["CheckOptions"]

_MIN_SAMPLES = 2


class CheckOptions(Transform):
    """Check options when a case comes, not when the config is read.

    What fails while a config is read reaches the user of MONAI Label as "Internal Server Error", what a transform
    raises does so in full. So this step stands before those that use the options.

    Args:
        num_samples: number of reconstructions, or its text.
        threshold: of the anomaly map, or its text; None, "" and "auto" stand for the shipped one.

    Raises:
        InputError: on calling, for the first option that cannot be used.
    """

    def __init__(self, *, num_samples: object, threshold: object = None) -> None:
        self.num_samples, self.threshold = num_samples, threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is, or raise."""
        samples = _read(self.num_samples)
        if not isinstance(samples, int) or samples < _MIN_SAMPLES:
            raise InputError(f"`num_samples` must be a whole number from {_MIN_SAMPLES} on, got {self.num_samples!r}")
        threshold = _read(self.threshold)
        if threshold is not None and not threshold >= 0:
            raise InputError(f"`threshold` must be a number from 0 on, or {AUTO}, got {self.threshold!r}")
        return dict(data)


def _read(value: object) -> float | int | None:
    """Return the number, or NaN for what is none."""
    try:
        return number(value)
    except InputError:
        return math.nan
