"""Load the files of a case, of which some may be absent, in any host."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import LoadImaged, MapTransform

from scripts.errors import InputError
from scripts.scans.reader import ScanReader

__all__ = ["LoadScansd"]


class LoadScansd(MapTransform):
    """Load each key's file with `ScanReader`, as a MetaTensor [1, H, W, D].

    It holds a `LoadImaged` but is none: MONAI Label exchanges each `LoadImaged` for a loader of its own, which needs
    every key and takes no notice of `allow_missing_keys`.

    Args:
        keys: the image, and masks, labels and partners that a case may have.
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: on calling, if a file has no name, as for a scan that a host does not know; else as `ScanReader`.
    """

    def __init__(self, keys: KeysCollection, *, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.load = LoadImaged(
            self.keys,
            reader=ScanReader,
            ensure_channel_first=True,
            image_only=True,
            allow_missing_keys=allow_missing_keys,
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the images in the place of their names."""
        for key in self.key_iterator(data):
            if data[key] == "":
                what = f"`{key}` names no file: the host has no scan of that name"
                raise InputError(what, fix="Ask for one in its list.")
        return self.load(dict(data))
