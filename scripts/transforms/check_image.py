"""Refuse images that no later step can use, naming the file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from scripts.errors import InputError
from scripts.scans.same_grid import on_grid_of
from scripts.scans.volume import source_path

__all__ = ["CheckImaged"]


class CheckImaged(MapTransform):
    """Check loaded images [1, H, W, D] of one case and give each problem a message that names the file.

    A fourth dimension of length one has been made the channel by then; any other 4D image is refused. Images must be
    finite and vary; label images (`mask_keys`) must be finite, and those in `non_empty_keys` must hold at least one
    voxel. Label images on another grid are brought onto that of the first image by the headers, to the nearest voxel;
    without headers (plain tensors) they must have its shape. A mask's background of NaN becomes 0.

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

    def _check_mask(self, key: Hashable, mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return the mask on the grid of the image."""
        path = source_path(mask)
        mask = on_grid_of(image, _without_nan_background(mask), name=str(key))
        if mask.shape != image.shape:
            raise InputError(
                f"`{key}` must have the image's shape {tuple(image.shape[1:])}, got {_shape_text(mask)} "
                f"(image: {source_path(image)})",
                path=path,
                fix="Give the mask on the grid of its image.",
            )
        _check_finite(mask, path)
        if key in self.non_empty_keys and not bool((torch.as_tensor(mask) > 0).any()):
            raise InputError(f"`{key}` holds no voxel", path=path, fix="Give a mask with the brain in it.")
        return mask

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with all masks on the grid of the first image, or raise."""
        first: torch.Tensor | None = None
        for key in self.key_iterator(data):
            image = data[key]
            self._check_image(image, source_path(image))
            if first is not None and image.shape != first.shape:
                raise InputError(
                    f"`{key}` must have the shape {tuple(first.shape[1:])} of {source_path(first)}, "
                    f"got {tuple(image.shape[1:])}",
                    path=source_path(image),
                    fix="Give images on one grid.",
                )
            first = image if first is None else first
        if first is None:
            return dict(data)
        return {**data, **{name: self._check_mask(name, data[name], first) for name in self.mask_keys if name in data}}


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


def _without_nan_background(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask with 0 for NaN, where most of its faces are NaN."""
    if mask.ndim != 4 or not mask.is_floating_point():
        return mask
    faces = [torch.isnan(mask.select(axis, end)).flatten() for axis in (1, 2, 3) for end in (0, -1)]
    return torch.nan_to_num(mask) if bool(torch.cat(faces).float().mean() > 0.5) else mask


def _shape_text(image: torch.Tensor) -> str:
    shape = tuple(image.shape[1:])
    return str(shape) if image.shape[0] == 1 else f"{image.shape[0]} channels of {shape}"
