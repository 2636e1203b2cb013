"""Load the files of a case, say which modality it is, and refuse images that no later step can use."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import LoadImaged, MapTransform, Transform
from monai.utils import ensure_tuple
from scripts.errors import InputError, check_choice
from scripts.options.choices import Modality
from scripts.scans.reader import ScanReader
from scripts.scans.volume import on_grid_of, source_path

__all__ = ["CheckImaged", "LoadScansd", "SetModalityd"]


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


_UNSAID = (None, "", "auto")
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")  # names that Python makes for uploaded files; a "t2" in one means nothing


class SetModalityd(Transform):
    """Set the modality of a case where it is missing, as hosts give an image and nothing else.

    A host may have put a wish into `modality`: t1, t2, auto, or a list of choices, of which the first one holds. Names
    of files stand in `image_path` or `image`.

    Args:
        modality: `t1` or `t2`; None leaves it to the file's name.
        by_name: returns the modality that the name of a file says, or None; `known_modality` of
            `scripts.data.inputs.dicom`.
            Where neither says it, it is `t1`, which the bundle's first weights are for; quality control notices if that
            is wrong.

    Raises:
        InputError: if `modality` is neither; on calling, if the case has another one, or its name says another kind of
            scan.
    """

    def __init__(self, modality: str | None = None, *, by_name: Callable[[str], str | None] | None = None) -> None:
        self.modality = None if modality is None else str(check_choice(Modality, modality, "modality"))
        self.by_name = by_name

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with its modality."""
        wish = data.get("modality")
        wish = wish[0] if isinstance(wish, (list, tuple)) and wish else wish
        if wish in _UNSAID:
            wish = self.modality or self._said_by_name(data) or Modality.T1
        return {**data, "modality": str(check_choice(Modality, wish, "modality"))}

    def _said_by_name(self, data: Mapping[Hashable, Any]) -> str | None:
        names = (data.get(key) for key in ("image_path", "image"))
        name = next((str(name) for name in names if isinstance(name, (str, Path))), None)
        if self.by_name is None or name is None or _TEMPORARY.fullmatch(Path(name).name.split(".")[0]):
            return None
        return self.by_name(name)


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
    """Add `brain_mask`, uint8, 0 or 1, where there is none: where the (skull-stripped) image is not zero.

    Args:
        keys: the image [1, H, W, D] to take the mask from.

    Examples:
        >>> BrainMaskFromNonzerod("image")({"image": torch.tensor([[[[0.0, 3.0]]]])})["brain_mask"].tolist()
        [[[[0, 1]]]]
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with the mask."""
        result = dict(data)
        for key in self.key_iterator(result):
            source = result.get("brain_mask")
            if source is None:
                result["brain_mask"] = (result[key] != 0).to(torch.uint8)
            else:
                result["brain_mask"] = (source > 0).to(torch.uint8)
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
