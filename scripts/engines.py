"""What a step of an engine takes from a batch, for denoising and for masking, and the losses of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines.utils import DiffusionPrepareBatch, PrepareBatch
from scripts.errors import InputError, check_choice
from scripts.ops import (
    NoiseKind,
    PatchTarget,
    make_noise,
    masked_patch_loss,
    patch_grid,
    reconstruct_slices,
    resize_patch_mask,
    sample_patch_mask,
)
from torch import Tensor, nn

__all__ = ["AnomalyWeightedL1Loss", "DenoisingPrepareBatch", "MaskedPatchLoss", "MaskingPrepareBatch"]


class DenoisingPrepareBatch(DiffusionPrepareBatch):
    """Noise slices for a network that predicts the clean slice and is conditioned on it.

    The batch's `image` [B, 1, H, W] in [0, 1] becomes the input in [−1, 1], to which MONAI's `DiffusionInferer` adds
    the noise, and the condition; the target is `healthy` where the batch has it (`RandAnomalyd`), else the image.
    Where the batch has `anomaly` [B, 1, H, W], it is the target's second channel, for `AnomalyWeightedL1Loss`. For
    training, noise and timesteps are new in every call and follow torch's global seed; for validation, give
    `timestep` and `seed`, and every call noises the same positions of a batch alike.

    Args:
        num_train_timesteps: timesteps are sampled from 0 to this − 1.
        noise: `simplex` or `gaussian`.
        timestep: one fixed timestep instead of random ones.
        timestep_range: first and last timestep that is sampled; None for all. What inference never uses need not be
            learnt.
        seed: one fixed noise seed instead of random ones.
        shared_noise: one field for all slices of a call, as the paper has it, instead of one each.

    Raises:
        InputError: if `timestep` is out of range or `noise` unknown.
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        *,
        noise: NoiseKind | str = NoiseKind.SIMPLEX,
        timestep: int | None = None,
        timestep_range: Sequence[int] | None = None,
        seed: int | None = None,
        shared_noise: bool = False,
    ) -> None:
        super().__init__(num_train_timesteps)
        if timestep is not None and not 0 <= timestep < num_train_timesteps:
            raise InputError(f"`timestep` must be from 0 to {num_train_timesteps - 1}, got {timestep}.")
        low, high = timestep_range or (0, num_train_timesteps - 1)
        if not 0 <= low <= high < num_train_timesteps:
            raise InputError(
                f"`timestep_range` must be two timesteps from 0 to {num_train_timesteps - 1}, got {timestep_range}."
            )
        self.timestep_range = (int(low), int(high))
        self.noise = check_choice(NoiseKind, noise, "noise")
        self.timestep = timestep
        self.seed = seed
        self.shared_noise = shared_noise

    def get_noise(self, images: torch.Tensor) -> torch.Tensor:
        """Return a field per slice, or the same one for all, [B, 1, H, W]."""
        seed = int(torch.randint(2**31, (1,))) if self.seed is None else self.seed
        shape = (images.shape[-2], images.shape[-1])
        noise = make_noise(self.noise, 1 if self.shared_noise else images.shape[0], 1, shape, seed)
        return noise.to(images).expand(images.shape[0], -1, -1, -1)

    def get_timesteps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the timesteps [B]."""
        if self.timestep is None:
            low, high = self.timestep_range
            return torch.randint(low, high + 1, (images.shape[0],), device=images.device).long()
        return torch.full((images.shape[0],), self.timestep, dtype=torch.long, device=images.device)

    def get_target(self, images: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the clean slices."""
        return images

    def __call__(
        self,
        batchdata: dict[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict]:
        """Return input, target, no arguments, and noise, timesteps and condition as keyword arguments."""
        scaled = {**batchdata, "image": batchdata["image"] * 2 - 1}
        images, target, args, infer_kwargs = super().__call__(scaled, device, non_blocking, **kwargs)
        if "healthy" in batchdata:
            target = (batchdata["healthy"] * 2 - 1).to(device=images.device, non_blocking=non_blocking)
        if "anomaly" in batchdata:
            weight = batchdata["anomaly"].to(device=images.device, dtype=target.dtype, non_blocking=non_blocking)
            target = torch.cat([target, weight], dim=1)
        return images, target, args, {**infer_kwargs, "condition": images}


_USUAL_AREA = 100.0  # pixels; an anomaly of this size counts `anomaly_weight` times more, a smaller one more yet


class AnomalyWeightedL1Loss(nn.Module):
    """Mean absolute error that counts the pixels of synthetic anomalies more.

    An anomaly covers few pixels of a slice, and a small one next to none: in a plain mean it pays to leave it as it
    is. A pixel of an anomaly of A pixels (all of a slice together) weighs ``1 + anomaly_weight · sqrt(100 / A)`` here,
    so that the share of an anomaly in the loss grows with the root of its area.

    Args:
        anomaly_weight: at least 0; 0 is the plain mean absolute error.

    Raises:
        InputError: if `anomaly_weight` is negative or not finite.
    """

    def __init__(self, anomaly_weight: float = 0.0) -> None:
        super().__init__()
        if not 0 <= anomaly_weight < float("inf"):
            raise InputError(f"`anomaly_weight` must be a number from 0 on, got {anomaly_weight!r}")
        self.anomaly_weight = float(anomaly_weight)

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            pred: predicted slices [B, 1, H, W].
            label: the healthy slices, and, if there is a second channel, the anomalies' weight in [0, 1],
                [B, 1 or 2, H, W].
        """
        error = (pred - label[:, :1]).abs()
        if label.shape[1] == 1 or not self.anomaly_weight:
            return error.mean()
        anomaly = label[:, 1:]
        area = anomaly.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
        return (error * (1 + self.anomaly_weight * (_USUAL_AREA / area).sqrt() * anomaly)).mean()


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
    """Sample a patch mask for each slice, for a network that reconstructs what is masked.

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
