"""Give a case that does not know its modality one."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from scripts.errors import InputError

__all__ = ["MODALITIES", "SetModalityd"]

MODALITIES = ("t1", "t2")
_UNSAID = (None, "", "auto")
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")  # names that Python draws for uploaded files; a "t2" in one means nothing


class SetModalityd(Transform):
    """Set the modality of a case where it is missing, as hosts give an image and nothing else.

    Args:
        modality: `t1` or `t2`; None leaves it to the file's name.
        by_name: tells the modality from the name of a file, or None where it does not; `scripts.data.modality_of`.
            Where neither tells, it is `t1`, which the bundle's first weights are for; quality control notices if that
            is wrong.
        modality_key: where it goes. A host may have put a wish there: `t1`, `t2`, `auto`, or a list of choices, of
            which the first one holds.
        path_keys: where the file's name may stand.

    Raises:
        InputError: if `modality` is neither; on calling, if the case has another one, or its name tells another kind of
            scan.
    """

    def __init__(
        self,
        modality: str | None = None,
        *,
        by_name: Callable[[str], str | None] | None = None,
        modality_key: str = "modality",
        path_keys: tuple[str, ...] = ("image_path", "image"),
    ) -> None:
        self.modality = None if modality is None else _check(modality)
        self.by_name = by_name
        self.modality_key = modality_key
        self.path_keys = tuple(path_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with its modality."""
        wish = data.get(self.modality_key)
        wish = wish[0] if isinstance(wish, (list, tuple)) and wish else wish
        if wish in _UNSAID:
            wish = self.modality or self._told_by_name(data) or MODALITIES[0]
        return {**data, self.modality_key: _check(wish)}

    def _told_by_name(self, data: Mapping[Hashable, Any]) -> str | None:
        names = (data.get(key) for key in self.path_keys)
        name = next((str(name) for name in names if isinstance(name, (str, Path))), None)
        if self.by_name is None or name is None or _TEMPORARY.fullmatch(Path(name).name.split(".")[0]):
            return None
        return self.by_name(name)


def _check(modality: object) -> str:
    if modality not in MODALITIES:
        raise InputError(f"`modality` must be one of {', '.join(MODALITIES)}, got {modality!r}")
    return str(modality)
