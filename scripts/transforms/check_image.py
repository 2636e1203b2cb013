"""Refuse images that no later step can use, naming the file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from scripts.errors import InputError
from scripts.scans.volume import source_path

__all__ = ["CheckImaged"]


class CheckImaged(MapTransform):
    """Check loaded images [1, H, W, D] of one case and give each problem a message that names the file.

    A fourth dimension of length one has been made the channel by then; any other 4D image is refused. Images must be
    finite and vary; label images (`mask_keys`) must be finite and have the first image's shape, and those in
    `non_empty_keys` must hold at least one voxel. All keys are checked against the first.

    Args:
        keys: images; the first one gives the expected shape.
        mask_keys: masks and segmentations.
        non_empty_keys: those of `mask_keys` that must hold a voxel.
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: on calling, for the first problem found.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_keys: KeysCollection = (),
        non_empty_keys: KeysCollection = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.non_empty_keys = ensure_tuple(non_empty_keys)

    @staticmethod
    def _check_image(image: torch.Tensor, path: Path | None) -> None:
        if image.ndim != 4 or image.shape[0] != 1:
            raise InputError(
                f"the image must be one 3D volume, got {image.shape[0]} channel(s) of {image.ndim - 1} dimension(s) "
                f"{tuple(image.shape[1:])}",
                path=path,
                fix="Extract one volume (for example `fslroi` or nibabel's `slicer`).",
            )
        _check_finite(image, path)
        if float(image.min()) == float(image.max()):
            raise InputError(
                f"the image is constant ({float(image.min()):g} everywhere)", path=path, fix="Give a scan with tissue."
            )

    def _check_mask(self, key: Hashable, mask: torch.Tensor, shape: torch.Size, image_path: Path | None) -> None:
        path = source_path(mask)
        if mask.shape != shape:
            raise InputError(
                f"`{key}` must have the image's shape {tuple(shape[1:])}, got {_shape_text(mask)} "
                f"(image: {image_path})",
                path=path,
                fix="Give the mask on the grid of its image.",
            )
        _check_finite(mask, path)
        if key in self.non_empty_keys and not bool((torch.as_tensor(mask) > 0).any()):
            raise InputError(f"`{key}` holds no voxel", path=path, fix="Give a mask with the brain in it.")

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` as it is, or raise."""
        shape: torch.Size | None = None
        first_path: Path | None = None
        for key in self.key_iterator(data):
            path = source_path(data[key])
            self._check_image(data[key], path)
            if shape is not None and data[key].shape != shape:
                raise InputError(
                    f"`{key}` must have the shape {tuple(shape[1:])} of {first_path}, got {tuple(data[key].shape[1:])}",
                    path=path,
                    fix="Give images on one grid.",
                )
            if shape is None:
                shape, first_path = data[key].shape, path
        for name in self.mask_keys:
            if name in data and shape is not None:
                self._check_mask(name, data[name], shape, first_path)
        return dict(data)


class BrainMaskFromNonzerod(MapTransform):
    """Add a brain mask where the data have none: the voxels of the (skull-stripped) image that are not zero.

    Args:
        keys: the image [1, H, W, D] to take the mask from.
        mask_key: where the mask [1, H, W, D], uint8 and 0 or 1, goes; an existing mask is made 0 or 1 and kept.
    """

    def __init__(self, keys: KeysCollection, *, mask_key: str = "brain_mask") -> None:
        super().__init__(keys)
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with the mask."""
        result = dict(data)
        for key in self.key_iterator(result):
            source = result.get(self.mask_key)
            if source is None:
                result[self.mask_key] = (result[key] != 0).to(torch.uint8)
            else:
                result[self.mask_key] = (source > 0).to(torch.uint8)
        return result


def _check_finite(image: torch.Tensor, path: Path | None) -> None:
    finite = torch.isfinite(image)
    if not bool(finite.all()):
        raise InputError(
            f"{int((~finite).sum())} of {image.numel()} voxels are NaN or infinite",
            path=path,
            fix="Replace them (for example `numpy.nan_to_num`) and check how the file was made.",
        )


def _shape_text(image: torch.Tensor) -> str:
    shape = tuple(image.shape[1:])
    return str(shape) if image.shape[0] == 1 else f"{image.shape[0]} channels of {shape}"
