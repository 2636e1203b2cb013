"""What a pretraining or validation step takes from a batch: slices and which of their patches are visible."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines.utils import PrepareBatch

from scripts.errors import InputError
from scripts.ops import draw_patch_mask, patch_grid, resize_patch_mask

__all__ = ["MaskingPrepareBatch"]


class MaskingPrepareBatch(PrepareBatch):
    """Draw a patch mask for each slice, for a network that rebuilds what is masked.

    The batch's `image` [B, 1, H, W] in [0, 1] becomes the input in [−1, 1], the range in which the denoiser's encoder
    sees slices. The label has two channels, the slice and 1 where a pixel is masked, so that MONAI's engines and
    metrics can hand it on as one tensor. The masks of a training step are new in every call and follow torch's global
    seed; for validation, give `seed`, and every call masks the same positions of a batch alike.

    Args:
        patch_size: side of a patch, pixels.
        mask_ratio: share of patches to mask.
        seed: one fixed seed instead of random ones.

    Raises:
        InputError: if `mask_ratio` is not above 0 and below 1; in a call, if the slices do not fit the patches.
    """

    def __init__(self, patch_size: int, *, mask_ratio: float = 0.65, seed: int | None = None) -> None:
        if not 0 < mask_ratio < 1:
            raise InputError(f"`mask_ratio` must be above 0 and below 1, got {mask_ratio!r}")
        self.patch_size = patch_size
        self.mask_ratio = mask_ratio
        self.seed = seed

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Return slices [B, 1, H, W], label [B, 2, H, W], no arguments, and the patch mask as `visible`."""
        image = batchdata["image"].to(device=device, non_blocking=non_blocking, **kwargs) * 2 - 1
        seed = int(torch.randint(2**31, (1,))) if self.seed is None else self.seed
        visible = draw_patch_mask(
            image.shape[0],
            patch_grid(image.shape[-2:], self.patch_size),
            self.mask_ratio,
            generator=torch.Generator().manual_seed(seed),
        )
        visible = visible.to(image.device)
        masked = ~resize_patch_mask(visible, image.shape[-2:])[:, None]
        return image, torch.cat([image, masked.to(image.dtype)], dim=1), (), {"visible": visible}
