"""From the grid of a scan to the one on which the network works, and from there to axial slices."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Randomizable, SpatialResample
from monai.utils import ensure_tuple, ensure_tuple_rep
from numpy.typing import NDArray
from scripts.errors import InputError, check_choice, check_whole
from scripts.scans.volume import TEMPLATE_CENTER_MM, as_float32, grid_affine, share_inside, source_path
from torch.nn import functional

__all__ = ["AverageVoxelsd", "AxialSlicesd", "GridCenter", "RandAxialSliced", "ToWorkingGridd", "brain_slices"]

_MAX_FACTOR = 8
_SLAB = 2**21  # voxels that are resampled at a time


class AverageVoxelsd(MapTransform, InvertibleTransform):
    """Bring a case [1, H, W, D] to voxels of about 1 mm by the mean of whole voxels; `Invertd` takes results back.

    Along an axis with voxels of `edge` mm, `round(spacing_mm / edge)` voxels become one, so that edges from two thirds
    of `spacing_mm` on stay as they are. Of images the mean is that of the voxels inside `brain_mask`; masks and
    labels keep voxels of which at least half were set.

    Args:
        keys: images, masks and labels of one grid.
        mask_keys: those of the keys that hold masks and labels.
        spacing_mm: edge that is enough, mm.
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: if `spacing_mm` is not positive.
        TypeError: on calling, if an image carries no affine.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_keys: KeysCollection = ("brain_mask", "label"),
        spacing_mm: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if spacing_mm <= 0:
            raise InputError(f"`spacing_mm` must be positive, got {spacing_mm}.")
        self.mask_keys = ensure_tuple(mask_keys)
        self.spacing_mm = spacing_mm

    def _factors(self, image: torch.Tensor) -> list[int]:
        if not isinstance(image, MetaTensor):
            raise TypeError(f"the image must be a MetaTensor with an affine, got {type(image).__name__}.")
        edges = np.linalg.norm(np.asarray(image.affine, dtype=np.float64)[:3, :3], axis=0)
        wanted = np.clip(np.round(self.spacing_mm / edges), 1, _MAX_FACTOR).astype(int)
        return [min(int(factor), size) for factor, size in zip(wanted, image.shape[1:], strict=True)]

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with averaged images, float32, and masks; as they are where nothing is to be averaged."""
        result = dict(data)
        brain = as_float32(result["brain_mask"])[0] > 0
        for key in self.key_iterator(result):
            image: Any = result[key]
            factors = self._factors(image)
            own = image.affine.clone()
            if max(factors) > 1:
                volume = as_float32(image)[0]
                small = _majority(volume, factors) if key in self.mask_keys else _mean_inside(volume, brain, factors)
                image = MetaTensor(
                    torch.as_tensor(small[None], dtype=image.dtype if key in self.mask_keys else torch.float32),
                    meta={**image.meta, "affine": _coarse(own, factors)},
                    applied_operations=image.applied_operations,
                )
            shape = list(data[key].shape[1:])
            result[key] = self.push_transform(image, extra_info={"affine": own, "shape": shape, "factors": factors})
        return result

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` on the grid that it came from, interpolated linearly."""
        result = dict(data)
        for key in self.key_iterator(result):
            image: Any = result[key].clone()
            facts = self.pop_transform(image)["extra_info"]
            if max(facts["factors"]) > 1:
                fine = np.empty((len(image), *facts["shape"]), dtype=np.float32)
                for volume, target in zip(as_float32(image), fine, strict=True):
                    _spread(volume, facts["factors"], target)
                image = MetaTensor(
                    torch.as_tensor(fine),
                    meta={**image.meta, "affine": facts["affine"]},
                    applied_operations=image.applied_operations,
                )
            result[key] = image
        return result


def _coarse(affine: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    to_fine = np.diag([*map(float, factors), 1.0])
    to_fine[:3, 3] = (np.asarray(factors) - 1) / 2
    return affine.to(torch.float64) @ torch.as_tensor(to_fine)


def _sums(volume: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    margins = [(0, -size % factor) for size, factor in zip(volume.shape, factors, strict=True)]
    padded = np.pad(volume, margins) if np.any(margins) else volume
    split = [part for size, factor in zip(padded.shape, factors, strict=True) for part in (size // factor, factor)]
    return padded.reshape(split).sum(axis=(1, 3, 5), dtype=np.float32)


def _mean_inside(volume: NDArray, brain: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    counts = _sums(brain, factors)
    return np.where(counts > 0, _sums(volume * brain, factors) / np.maximum(counts, 1), 0).astype(np.float32)


def _majority(mask: NDArray, factors: Sequence[int]) -> NDArray[np.bool_]:
    return _sums(mask > 0, factors) >= _sums(np.ones(mask.shape, dtype=np.bool_), factors) / 2


def _spread(volume: NDArray, factors: Sequence[int], target: NDArray[np.float32]) -> None:
    """Interpolate averaged voxels linearly onto those that they were averaged from; beyond the outermost, its value."""
    size = [length * factor for length, factor in zip(volume.shape, factors, strict=True)]
    fine = functional.interpolate(torch.as_tensor(volume)[None, None], size, mode="trilinear", align_corners=False)
    target[:] = fine[0, 0, : target.shape[0], : target.shape[1], : target.shape[2]].numpy()


logger = logging.getLogger(__name__)


class GridCenter(StrEnum):
    """Where the working grid is placed: on the template's centre in world mm, or on the middle of the image."""

    AUTO = "auto"
    TEMPLATE = "template"
    IMAGE = "image"


class ToWorkingGridd(MapTransform, InvertibleTransform):
    """Resample images, masks and labels [1, H, W, D] of one case onto the working grid; `Invertd` takes results back.

    The grid is axis-aligned (RAS), so scans must be registered to the template. A case that already lies on the grid is
    not interpolated. What the grid does not cover is lost, what the scan does not cover is 0. `brain_mask` decides
    between the centres, and warns when brain is cut off.

    Args:
        keys: images, masks, labels.
        size: voxels of the grid.
        spacing_mm: edge of its voxels, mm.
        center: `template` puts the grid on the template's centre (−1, −19, 7) mm in the world of the header; `image` on
            the middle of the image (the reference experiment's centre crop); `auto` on the template's centre, or on the
            image's middle where that keeps more of the brain, as for files whose header has no template origin;
            or three numbers, mm.
        mode: interpolation for each key, `nearest`, `bilinear` or a spline order 0–5 (3 is the reference's B-spline).
        allow_missing_keys: whether a key may be absent.

    Raises:
        InputError: if `center` is unknown, or `size` or `spacing_mm` is out of range.
        TypeError: on calling, if the mask carries no affine.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        size: Sequence[int] = (96, 96, 80),
        spacing_mm: float = 2.0,
        center: GridCenter | str | Sequence[float] = GridCenter.AUTO,
        mode: str | int | Sequence[str | int] = 3,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if isinstance(center, str):
            center = check_choice(GridCenter, center, "center")
        elif len(center) != 3:
            raise InputError(f"`center` must be 3 numbers, got {center!r}.")
        if len(size) != 3 or min(size) < 1:
            raise InputError(f"`size` must be 3 numbers of voxels from 1 on, got {size!r}.")
        if spacing_mm <= 0:
            raise InputError(f"`spacing_mm` must be positive, got {spacing_mm}.")
        self.size = tuple(size)
        self.spacing_mm = spacing_mm
        self.center = center
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.resample = SpatialResample(padding_mode="zeros", align_corners=False, dtype=np.float64)

    def _choose_grid(self, mask: torch.Tensor) -> np.ndarray:
        if not isinstance(mask, MetaTensor):
            raise TypeError(f"`brain_mask` must be a MetaTensor with an affine, got {type(mask).__name__}.")
        affine = np.asarray(mask.affine, dtype=np.float64)
        middle = (affine @ [*((np.asarray(mask.shape[1:]) - 1) / 2), 1.0])[:3]
        if not isinstance(self.center, str):
            candidates: list[Sequence[float]] = [self.center]
        else:
            by_name = {GridCenter.TEMPLATE: [TEMPLATE_CENTER_MM], GridCenter.IMAGE: [middle]}
            candidates = by_name.get(GridCenter(self.center), [TEMPLATE_CENTER_MM, middle])
        grids = [grid_affine(center, self.size, self.spacing_mm) for center in candidates]
        shares = [share_inside(mask, affine, grid, self.size) for grid in grids]
        best = int(np.argmax(np.asarray(shares) - [0.0, 0.01][: len(shares)]))
        if best == 1 or shares[best] < 0.99:
            logger.warning(
                "%s: the working grid holds %.1f %% of the brain%s.",
                source_path(mask) or "image",
                100 * shares[best],
                "; centred on the image, as its header does not place it on the template" if best == 1 else "",
            )
        return grids[best]

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` on the working grid, float32."""
        result = dict(data)
        grid = torch.as_tensor(self._choose_grid(result["brain_mask"]))
        for key, mode in self.key_iterator(result, self.mode):
            padding = "constant" if isinstance(mode, int) else "zeros"
            result[key] = self.resample(
                result[key], dst_affine=grid, spatial_size=self.size, mode=mode, padding_mode=padding
            )
        return result

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` on the grid it came from, resampled linearly where the way there was a spline.

        Maps have sharp edges, over which a spline would swing below 0 and above the peak.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            tracked: Any = result[key]
            mode = tracked.applied_operations[-1]["extra_info"]["mode"]
            if isinstance(mode, int) or mode == "bilinear":
                result[key] = self._linearly_back(tracked)
            else:
                result[key] = self.resample.inverse(tracked)
        return result

    def _linearly_back(self, image: MetaTensor) -> MetaTensor:
        """Return an image [C, H, W, D] on the grid it came from, in slabs; beyond the working grid there are zeros.

        The places that each voxel is taken from take 24 bytes: for a large scan at once that would be gigabytes.
        """
        image = cast(MetaTensor, image.clone())
        facts = self.resample.pop_transform(image)
        own = torch.as_tensor(facts["extra_info"]["src_affine"], dtype=torch.float64)
        shape = tuple(facts["orig_size"])
        found = torch.empty(len(image), *shape, dtype=image.dtype, device=image.device)
        rows = max(1, _SLAB // (shape[1] * shape[2]))
        with self.resample.trace_transform(False):
            for first in range(0, shape[0], rows):
                part = found[:, first : first + rows]
                start = own.clone()
                start[:3, 3] += own[:3, 0] * first
                part[:] = torch.as_tensor(
                    self.resample(
                        image, dst_affine=start, spatial_size=part.shape[1:], mode="bilinear", padding_mode="zeros"
                    )
                )
        return MetaTensor(found, meta={**image.meta, "affine": own}, applied_operations=image.applied_operations)


def brain_slices(mask: torch.Tensor, *, min_share: float = 0.02) -> torch.Tensor:
    """Return the indices of the axial slices of a mask [1, H, W, D] that hold brain.

    Args:
        mask: voxels above 0 are brain.
        min_share: the least share of a slice's pixels that must be brain; 0 takes any slice with one brain pixel.

    Returns:
        Indices along the last axis, int64; all slices if none holds enough.

    Examples:
        >>> mask = torch.zeros(1, 4, 4, 3)
        >>> mask[..., 1] = 1
        >>> brain_slices(mask).tolist()
        [1]
    """
    share = (torch.as_tensor(mask[0]) > 0).float().mean(dim=(0, 1))
    found = torch.nonzero(share > min_share).flatten()
    return found if len(found) else torch.arange(mask.shape[-1])


class RandAxialSliced(Randomizable, MapTransform):
    """Take one random axial slice that holds brain (`brain_mask`), the same for all keys: [C, H, W, D] → [C, H, W].

    Args:
        keys: volumes on one grid.
        thick_prob: probability of averaging neighbouring slices of what is no mask, as thick-slice scans do.
        max_thickness: largest number of slices that are averaged.

    Raises:
        InputError: if `thick_prob` or `max_thickness` is out of range.
    """

    def __init__(self, keys: KeysCollection, *, thick_prob: float = 0.0, max_thickness: int = 3) -> None:
        super().__init__(keys)
        if not 0 <= thick_prob <= 1:
            raise InputError(f"`thick_prob` must be from 0 to 1, got {thick_prob!r}")
        check_whole(max_thickness, "max_thickness", least=1)
        self.thick_prob, self.max_thickness = thick_prob, max_thickness

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return `data` with slices."""
        result = dict(data)
        mask = result["brain_mask"]
        candidates = brain_slices(mask)
        index = int(candidates[self.R.randint(len(candidates))])
        thick = self.thick_prob > 0 and self.R.uniform() < self.thick_prob
        count = int(self.R.randint(2, self.max_thickness + 1)) if thick and self.max_thickness > 1 else 1
        first = max(0, index - count // 2)
        inside = mask[..., index] > 0
        for key in self.key_iterator(result):
            if key == "brain_mask" or count == 1:
                result[key] = result[key][..., index].clone()
            else:
                result[key] = result[key][..., first : first + count].mean(dim=-1) * inside
        return result


class AxialSlicesd(MapTransform):
    """Take evenly spaced axial slices that hold brain (`brain_mask`): [C, H, W, D] → a list of cases [C, H, W].

    Args:
        keys: volumes on one grid; other entries are repeated.
        num_slices: how many.

    Raises:
        InputError: if `num_slices` is below 1.
    """

    def __init__(self, keys: KeysCollection, *, num_slices: int = 8) -> None:
        super().__init__(keys)
        if num_slices < 1:
            raise InputError(f"`num_slices` must be at least 1, got {num_slices}.")
        self.num_slices = num_slices

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> list[dict[Hashable, torch.Tensor]]:
        """Return the slices, from below to above."""
        candidates = brain_slices(data["brain_mask"])
        picks = torch.linspace(0, len(candidates) - 1, min(self.num_slices, len(candidates))).round().long()
        slices = []
        for index in candidates[picks].tolist():
            item = dict(data)
            for key in self.key_iterator(item):
                item[key] = data[key][..., index].clone()
            slices.append(item)
        return slices
