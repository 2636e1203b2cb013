"""Resample a case once onto the grid on which the network works."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from monai.utils import ensure_tuple_rep

from scripts.scans.grid import TEMPLATE_CENTER_MM, grid_affine, share_inside
from scripts.scans.volume import source_path

__all__ = ["GridCenter", "ToWorkingGridd"]

logger = logging.getLogger(__name__)


class GridCenter(StrEnum):
    """Where the working grid is placed: on the template's centre in world mm, or on the middle of the image."""

    AUTO = "auto"
    TEMPLATE = "template"
    IMAGE = "image"


class ToWorkingGridd(MapTransform, InvertibleTransform):
    """Resample images, masks and labels [1, H, W, D] of one case onto the working grid; `Invertd` takes results back.

    The grid is axis-aligned (RAS), so scans must be registered to the template. A case that already lies on the grid is
    not interpolated. What the grid does not cover is lost, what the scan does not cover is 0.

    Args:
        keys: images, masks, labels.
        mask_key: the brain mask, which decides between the centres and warns when brain is cut off.
        size: voxels of the grid.
        spacing_mm: edge of its voxels, mm.
        center: `template` puts the grid on the template's centre (−1, −19, 7) mm in the world of the header; `image` on
            the middle of the image (the reference experiment's centre crop); `auto` on the template's centre, or on the
            image's middle where that keeps more of the brain, as for files whose header has no template origin;
            or three numbers, mm.
        mode: interpolation for each key, `nearest`, `bilinear` or a spline order 0–5 (3 is the reference's B-spline).
        allow_missing_keys: whether a key may be absent.

    Raises:
        ValueError: if `center` is unknown, or `size` or `spacing_mm` is out of range.
        TypeError: on calling, if the mask carries no affine.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        mask_key: str = "brain_mask",
        size: Sequence[int] = (96, 96, 80),
        spacing_mm: float = 2.0,
        center: GridCenter | str | Sequence[float] = GridCenter.AUTO,
        mode: str | int | Sequence[str | int] = 3,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if isinstance(center, str) and center not in list(GridCenter):
            raise ValueError(f"`center` must be one of {[str(c) for c in GridCenter]} or 3 numbers, got {center!r}.")
        if not isinstance(center, str) and len(center) != 3:
            raise ValueError(f"`center` must be 3 numbers, got {center!r}.")
        if len(size) != 3 or min(size) < 1:
            raise ValueError(f"`size` must be 3 numbers of voxels from 1 on, got {size!r}.")
        if spacing_mm <= 0:
            raise ValueError(f"`spacing_mm` must be positive, got {spacing_mm}.")
        self.mask_key = mask_key
        self.size = tuple(size)
        self.spacing_mm = spacing_mm
        self.center = center
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.resample = SpatialResample(padding_mode="zeros", align_corners=False, dtype=np.float64)

    def _choose_grid(self, mask: torch.Tensor) -> np.ndarray:
        if not isinstance(mask, MetaTensor):
            raise TypeError(f"`{self.mask_key}` must be a MetaTensor with an affine, got {type(mask).__name__}.")
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
        grid = torch.as_tensor(self._choose_grid(result[self.mask_key]))
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
            options = tracked.applied_operations[-1]["extra_info"]
            if isinstance(options["mode"], int):
                options.update(mode="bilinear", padding_mode="zeros")
            result[key] = self.resample.inverse(result[key])
        return result
