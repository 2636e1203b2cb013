"""What goes with a scan to the inferer, and from the inferer's channels to named images and a score."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImage, MapTransform
from monai.utils import ensure_tuple
from scripts.errors import InputError
from scripts.ops import scan_score
from scripts.results import check_min_volume, without_small_regions
from scripts.scans.reader import ScanReader
from scripts.scans.volume import as_volume, grid_of, on_grid_of, source_path

__all__ = ["CarryInMetad", "ReloadOriginald", "ScoreScand", "SplitOutputsd", "carried"]

_PREFIX = "carried_"


class CarryInMetad(MapTransform):
    """Write other entries of a case into an image's metadata.

    Hosts such as MONAI Label call an inferer with the image and the network alone. The brain mask could be guessed from
    the voxels that are not zero, but not exactly: the darkest percent of the brain is zero too, and splines leave
    traces outside of it.

    Args:
        keys: MetaTensors that carry the entries.
        names: the entries, tensors or plain values.

    Raises:
        TypeError: on calling, if an image has no metadata.
    """

    def __init__(self, keys: KeysCollection, *, names: Sequence[str] | str) -> None:
        super().__init__(keys)
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


class ScoreScand(MapTransform):
    """Write the scan's score, the mean of the highest 1 % of the brain's anomaly map, into `data["anomaly_score"]`.

    It stands before the maps are taken back to the scan's own grid, so that the score does not depend on that grid and
    can be compared with those of healthy scans. The brain is `brain_mask` [1, H, W, D] on the same grid, or where there
    is none the voxels of `image` that are not zero.

    Args:
        keys: the inferer's output [C, H, W, D].
        outputs: names of its channels; without `anomaly_map` among them nothing is written.

    Raises:
        InputError: on calling, if the mask is empty or has another grid.
    """

    def __init__(self, keys: KeysCollection, *, outputs: Sequence[str]) -> None:
        super().__init__(keys)
        self.outputs = list(outputs)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with `anomaly_score`."""
        result = dict(data)
        if "anomaly_map" not in self.outputs:
            return result
        for key in self.key_iterator(data):
            scores = torch.as_tensor(data[key])[self.outputs.index("anomaly_map")]
            mask = torch.as_tensor(data["brain_mask" if "brain_mask" in data else "image"])[0]
            result["anomaly_score"] = scan_score(scores.cpu(), (mask != 0).cpu())
        return result


class ReloadOriginald(MapTransform):
    """Put the image as its file holds it in the place of a resampled one, so that a label is scored on its own grid.

    Labels on another grid than `image` are brought onto that.

    Args:
        keys: MetaTensors [1, H, W, D] that were loaded from files.
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: on calling, if an image does not know its file.
    """

    def __init__(self, keys: KeysCollection, *, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.load = LoadImage(reader=ScanReader(), ensure_channel_first=True, image_only=True)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with the files' images."""
        result = dict(data)
        for key in self.key_iterator(data):
            path = source_path(data[key])
            if path is None:
                raise InputError(f"`{key}` was not loaded from a file", fix="Score it on the working grid.")
            label = self.load(path)
            result[key] = on_grid_of(data["image"], label, name=str(key)) if "image" in data else label
        return result


class SplitOutputsd(MapTransform):
    """Give each channel [C, H, W, D] of the inferer a key of its own, and threshold the anomaly map to a lesion mask.

    Maps are 0 outside of `brain_mask` [1, H, W, D], on the same grid. The channels stay where they are: `data[key]` is
    set to 0 there too, as a copy of each would be the largest thing in memory.

    Args:
        keys: the inferer's output.
        outputs: names of the channels; they become keys, [1, H, W, D] each.
        threshold: voxels with `anomaly_map >= threshold` inside the brain are lesion; None makes no mask; a mapping
            gives the threshold for each modality.
        min_volume_ml: connected regions of the lesion mask below this volume, on the grid of `keys`, are left out; 0
            keeps them all.

    Raises:
        InputError: if `min_volume_ml` is no number at or above 0.
        InputError: on calling, if the number of channels is not that of `outputs`.
        InputError: on calling, if there is no threshold for the case's modality.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        outputs: Sequence[str],
        threshold: float | Mapping[str, float] | None = None,
        min_volume_ml: float | None = 0.0,
    ) -> None:
        super().__init__(keys)
        self.outputs = list(outputs)
        self.threshold = threshold
        self.min_volume_ml = check_min_volume(min_volume_ml)

    def _threshold(self, data: Mapping[Hashable, Any]) -> float | None:
        if not isinstance(self.threshold, Mapping):
            return self.threshold
        modality = str(data.get("modality"))
        if modality not in self.threshold:
            raise InputError(f"there is no threshold for the modality {modality!r}", fix="Give --threshold.")
        return float(self.threshold[modality])

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with the new keys, float32, and `lesion_mask`, uint8."""
        result = dict(data)
        threshold = self._threshold(data)
        for key in self.key_iterator(data):
            maps = data[key]
            if maps.shape[0] != len(self.outputs):
                raise InputError(f"`{key}` must have {len(self.outputs)} channels {self.outputs}, got {maps.shape[0]}.")
            inside = (torch.as_tensor(data["brain_mask"]) > 0).to(maps.device)
            for index, name in enumerate(self.outputs):
                result[name] = maps[index : index + 1]
                result[name] *= inside
            if threshold is not None and "anomaly_map" in result:
                # compared as a MetaTensor, so that the mask keeps the scan's affine
                mask = ((result["anomaly_map"] >= threshold) * inside).to(torch.uint8)
                result["lesion_mask"] = self._without_small(mask)
        return result

    def _without_small(self, mask: torch.Tensor) -> torch.Tensor:
        if not self.min_volume_ml:
            return mask
        kept = without_small_regions(as_volume(mask), grid_of(mask), min_volume_ml=self.min_volume_ml)
        return mask * torch.as_tensor(kept, dtype=torch.uint8, device=mask.device)[None]
