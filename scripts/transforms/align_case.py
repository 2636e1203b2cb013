"""Align the scans of a case: a T2 goes the way that its T1 went."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection

from scripts.transforms.align_to_template import Alignment, AlignToTemplated
from scripts.transforms.brain_scan import Scan
from scripts.transforms.notes import read_notes
from scripts.transforms.orientation_search import AS_THE_HEADER_SAYS, Orientation
from scripts.transforms.template_fit import Fit

__all__ = ["T1_TO_TEMPLATE", "AlignCased"]

T1_TO_TEMPLATE = "t1_to_template"


class _Follow(AlignToTemplated):
    """Place a T2 by its motion to the T1 and the T1's own affine."""

    def _fit(self, data: Mapping[Hashable, Any], scan: Scan) -> tuple[str, Fit]:
        to_t1 = np.asarray(read_notes(data)["brain_extraction"]["t2_to_t1"], dtype=np.float64)
        transform = np.asarray(data[T1_TO_TEMPLATE], dtype=np.float64) @ to_t1
        return "affine through the t1", Fit(transform, Orientation(transform, 0.0, 0.0, AS_THE_HEADER_SAYS))


class AlignCased(AlignToTemplated):
    """`AlignToTemplated` that takes the T1's affine where the case brings it, so that both scans overlay.

    A case brings it as `t1_to_template`, T1 world to MNI world, 4 rows of 4, beside the T2's note `t2_to_t1` of the
    brain extraction. Without, or with `mode` never, it does what `AlignToTemplated` does.

    Args:
        keys: images, masks and labels of one grid.
        mode: auto, always or never.
        **options: others of `AlignToTemplated`.
    """

    def __init__(self, keys: KeysCollection, *, mode: Alignment | str = Alignment.ALWAYS, **options: Any) -> None:
        super().__init__(keys, mode=mode, **options)
        self.follow = _Follow(keys, mode=Alignment.ALWAYS, **options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with affines in MNI world and the note `alignment`, without the T1 and its affine."""
        known = T1_TO_TEMPLATE in data and "t2_to_t1" in read_notes(data).get("brain_extraction", {})
        follows = known and self.mode is not Alignment.NEVER
        result = self.follow(data) if follows else super().__call__(data)
        result.pop(T1_TO_TEMPLATE, None)
        return result
