"""What an image carries with it to an inferer that is given nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

__all__ = ["CarryInMetad", "carried"]

_PREFIX = "carried_"


class CarryInMetad(MapTransform):
    """Write other entries of a case into an image's metadata.

    Hosts such as MONAI Label call an inferer with the image and the network alone. The brain mask could be guessed from
    the voxels that are not zero, but not exactly: the darkest percent of the brain is zero too, and splines leave
    traces outside of it.

    Args:
        keys: MetaTensors that carry the entries.
        names: the entries, tensors or plain values.
        allow_missing_keys: whether an image may be absent.

    Raises:
        TypeError: on calling, if an image has no metadata.
    """

    def __init__(self, keys: KeysCollection, *, names: Sequence[str] | str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names = ensure_tuple(names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the entries in the metadata of its images."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            if not isinstance(image, MetaTensor):
                raise TypeError(f"`{key}` must be a MetaTensor, got {type(image).__name__}.")
            image = image.clone()
            for name in self.names:
                value = result[name]
                image.meta[_PREFIX + name] = torch.as_tensor(value) if isinstance(value, MetaTensor) else value
            result[key] = image
        return result


def carried(image: torch.Tensor, name: str) -> Any:
    """Return an entry that an image or a batch of images carries, batched like it, or None."""
    return image.meta.get(_PREFIX + name) if isinstance(image, MetaTensor) else None
