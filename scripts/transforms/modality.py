"""Give a case that does not know its modality one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Transform

from scripts.errors import InputError

__all__ = ["MODALITIES", "SetModalityd"]

MODALITIES = ("t1", "t2")


class SetModalityd(Transform):
    """Set the modality of a case where it is missing, as hosts give an image and nothing else.

    Args:
        modality: `t1` or `t2`; None stands for `t1`, which the bundle's first weights are for.
        modality_key: where it goes.

    Raises:
        InputError: if `modality` is neither; on calling, if the case has another one.
    """

    def __init__(self, modality: str | None = None, *, modality_key: str = "modality") -> None:
        self.modality = _check("t1" if modality is None else modality)
        self.modality_key = modality_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with its modality."""
        return {**data, self.modality_key: _check(data.get(self.modality_key, self.modality))}


def _check(modality: object) -> str:
    if modality not in MODALITIES:
        raise InputError(f"`modality` must be one of {', '.join(MODALITIES)}, got {modality!r}")
    return str(modality)
