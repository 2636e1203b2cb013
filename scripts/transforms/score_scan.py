"""Score a whole scan on the working grid, where every scan has voxels of one size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.ops import scan_score

__all__ = ["ScoreScand"]


class ScoreScand(MapTransform):
    """Write the scan's score, the mean of the highest 1 % of the brain's anomaly map, into `data["anomaly_score"]`.

    It stands before the maps are taken back to the scan's own grid, so that the score does not depend on that grid and
    can be compared with those of healthy scans.

    Args:
        keys: the inferer's output [C, H, W, D].
        outputs: names of its channels; without `anomaly_map` among them nothing is written.
        mask_key: the brain mask [1, H, W, D] on the same grid; where there is none, the voxels of `image_key` that are
            not zero.
        image_key: the network's input [1, H, W, D].
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: on calling, if the mask is empty or has another grid.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        outputs: Sequence[str],
        mask_key: str = "brain_mask",
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.outputs = list(outputs)
        self.mask_key, self.image_key = mask_key, image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with `anomaly_score`."""
        result = dict(data)
        if "anomaly_map" not in self.outputs:
            return result
        for key in self.key_iterator(data):
            scores = torch.as_tensor(data[key])[self.outputs.index("anomaly_map")]
            mask = torch.as_tensor(data[self.mask_key if self.mask_key in data else self.image_key])[0]
            result["anomaly_score"] = scan_score(scores.cpu(), (mask != 0).cpu())
        return result
