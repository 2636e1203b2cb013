"""Pretraining by masking: what a step takes from a batch, and its loss as MONAI's engines and metrics call it."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines.utils import PrepareBatch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.ops import (
    PatchTarget,
    masked_patch_loss,
    patch_grid,
    reconstruct_slices,
    resize_patch_mask,
    sample_patch_mask,
)
from scripts.ops.checks import check_choice

__all__ = ["MaskedPatchLoss", "MaskingPrepareBatch"]


class MaskedPatchLoss(nn.Module):
    """Compare reconstructed slices with the label of `MaskingPrepareBatch`, over the masked pixels.

    Args:
        patch_size: side of a patch, pixels.
        target: `per_patch` (each patch at mean 0 and standard deviation 1) or `plain`.

    Raises:
        InputError: if `target` is unknown.
    """

    def __init__(self, patch_size: int, *, target: PatchTarget | str = PatchTarget.PER_PATCH) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.target = check_choice(PatchTarget, target, "target")

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """Return the mean squared error over the masked pixels, a scalar.

        Args:
            pred: reconstructed slices [B, 1, H, W].
            label: the slices, and 1 where a pixel is masked, [B, 2, H, W].
        """
        return masked_patch_loss(pred, label[:, :1], label[:, 1:], patch_size=self.patch_size, target=self.target)

    def reconstruct(self, pred: Tensor, label: Tensor) -> Tensor:
        """Return the slices [B, 1, H, W] with their masked pixels reconstructed, of the same arguments, to see."""
        return reconstruct_slices(pred, label[:, :1], label[:, 1:], patch_size=self.patch_size, target=self.target)


class MaskingPrepareBatch(PrepareBatch):
    """Draw a patch mask for each slice, for a network that reconstructs what is masked.

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
        visible = sample_patch_mask(
            image.shape[0],
            patch_grid(image.shape[-2:], self.patch_size),
            self.mask_ratio,
            generator=torch.Generator().manual_seed(seed),
        )
        visible = visible.to(image.device)
        masked = ~resize_patch_mask(visible, image.shape[-2:])[:, None]
        return image, torch.cat([image, masked.to(image.dtype)], dim=1), (), {"visible": visible}
