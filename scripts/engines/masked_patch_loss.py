"""The pretraining loss as an object that MONAI's engines and metrics call."""

from __future__ import annotations

from torch import Tensor, nn

from scripts.ops import PatchTarget, masked_patch_loss, rebuild_slices
from scripts.ops.checks import check_choice

__all__ = ["MaskedPatchLoss"]


class MaskedPatchLoss(nn.Module):
    """Compare rebuilt slices with the label of `MaskingPrepareBatch`, over the masked pixels.

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
            pred: rebuilt slices [B, 1, H, W].
            label: the slices, and 1 where a pixel is masked, [B, 2, H, W].
        """
        return masked_patch_loss(pred, label[:, :1], label[:, 1:], patch_size=self.patch_size, target=self.target)

    def rebuild(self, pred: Tensor, label: Tensor) -> Tensor:
        """Return the slices [B, 1, H, W] with their masked pixels rebuilt, from the same arguments, to look at."""
        return rebuild_slices(pred, label[:, :1], label[:, 1:], patch_size=self.patch_size, target=self.target)
