"""The baseline: the Mahalanobis map by inverting a P×P covariance matrix, as the paper's code does it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["compare_maps", "dense_map", "make_cloud"]


def make_cloud(num_samples: int, num_slices: int, size: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Make an image, reconstructions that differ from it in smooth fields, and a brain-sized mask; seeded.

    The mask is a disc of 61 % of a slice: 5,620 pixels at 96×96, as the central slices of a brain on that grid.

    Args:
        num_samples: K.
        num_slices: S.
        size: height and width in pixels, at least 8.
        seed: of the made-up data.

    Returns:
        Image `[S, H, W]` and reconstructions `[K, S, H, W]`, float32 in [0, 1]; mask `[S, H, W]`, bool.
    """
    generator = torch.Generator().manual_seed(seed)

    def smooth_fields(count: int) -> Tensor:
        coarse = torch.randn(count, 1, max(size // 8, 2), max(size // 8, 2), generator=generator)
        return functional.interpolate(coarse, size=(size, size), mode="bicubic")[:, 0]

    image = (0.5 + 0.15 * smooth_fields(num_slices)).clamp_(0, 1)
    reconstructions = torch.empty(num_samples, *image.shape)
    for draw in reconstructions:  # one draw at a time: no second tensor of this size
        draw.copy_(image + 0.05 * smooth_fields(num_slices)).clamp_(0, 1)
    image += 0.02 * torch.randn(image.shape, generator=generator)
    axis = torch.arange(size) - (size - 1) / 2
    disc = axis[:, None].square() + axis[None, :].square() <= 0.61 * size**2 / math.pi
    return image.clamp_(0, 1), reconstructions, disc.expand(num_slices, -1, -1).contiguous()


def dense_map(image: Tensor, reconstructions: Tensor, brain_mask: Tensor, *, regularization: float = 1e-2) -> Tensor:
    """Compute the `reference` score with extent `slice` by `torch.linalg.inv` of each slice's P×P covariance.

    Args:
        image: `[S, H, W]`.
        reconstructions: `[K, S, H, W]`, of the image's dtype, in which everything is computed.
        brain_mask: `[S, H, W]`, bool.
        regularization: λ.

    Returns:
        `[S, H, W]`: √(d ⊙ Σ⁻¹d), NaN where that product is negative and zero outside the mask. O(P³) time and O(P²)
        memory a slice.

    References:
        Behrendt et al. 2024, doi:10.1007/978-3-031-72120-5_37.
    """
    result = torch.zeros_like(image)
    for s, inside in enumerate(brain_mask):
        cloud = reconstructions[:, s, inside]
        mean = cloud.mean(dim=0)
        deviations = cloud - mean
        covariance = deviations.T @ deviations / (len(cloud) - 1)
        covariance.diagonal().add_(regularization)
        difference = image[s, inside] - mean
        result[s, inside] = (difference * (torch.linalg.inv(covariance) @ difference)).sqrt()
    return result


def compare_maps(first: Tensor, second: Tensor) -> dict[str, float | int]:
    """Compare two maps that may hold NaN (the negative terms of the `reference` score).

    Args:
        first: any shape.
        second: the same shape.

    Returns:
        `max_abs` difference where both are numbers, `max_relative` that over the largest value of `second`,
        `nan_in_one` voxels that are NaN in just one of them, `nan_in_both`.
    """
    nan_first, nan_second = first.isnan(), second.isnan()
    both = ~(nan_first | nan_second)
    largest = float((first[both].double() - second[both].double()).abs().max())
    return {
        "max_abs": largest,
        "max_relative": largest / float(second[both].abs().max()),
        "nan_in_one": int((nan_first ^ nan_second).sum()),
        "nan_in_both": int((nan_first & nan_second).sum()),
    }
