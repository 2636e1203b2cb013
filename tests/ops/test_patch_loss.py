"""The loss sees masked pixels alone; per-patch normalisation is what the formula says; pictures invert it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.errors import InputError
from scripts.ops import masked_patch_loss, patch_statistics, reconstruct_slices, resize_patch_mask, sample_patch_mask

PATCH = 4


@pytest.fixture
def case():
    """Prediction, slices and masked pixels, [2, 1, 8, 12], in float64."""
    generator = torch.Generator().manual_seed(0)
    pred, image = torch.randn(2, 2, 1, 8, 12, generator=generator, dtype=torch.float64)
    visible = sample_patch_mask(2, (2, 3), 0.65, generator=generator)
    return pred, image, (~resize_patch_mask(visible, (8, 12)))[:, None].double()


def normalised_oracle(image: torch.Tensor, eps: float = 1e-6) -> np.ndarray:
    result = image.numpy().copy()
    for b in range(image.shape[0]):
        for top in range(0, image.shape[2], PATCH):
            for left in range(0, image.shape[3], PATCH):
                patch = result[b, 0, top : top + PATCH, left : left + PATCH]
                patch[...] = (patch - patch.mean()) / np.sqrt(patch.var() + eps)
    return result


@pytest.mark.parametrize("target", ["per_patch", "plain"])
def test_the_loss_is_the_mean_over_masked_pixels_of_a_naive_loop(case, target):
    pred, image, masked = case
    wanted = normalised_oracle(image) if target == "per_patch" else image.numpy()
    expected = ((pred.numpy() - wanted) ** 2)[masked.numpy() > 0].mean()
    loss = masked_patch_loss(pred, image, masked, patch_size=PATCH, target=target)
    assert float(loss) == pytest.approx(expected, rel=1e-12)  # float64: only the summation order differs


@pytest.mark.parametrize("target", ["per_patch", "plain"])
def test_visible_pixels_of_the_prediction_count_for_nothing(case, target):
    pred, image, masked = case
    pred.requires_grad_()
    loss = masked_patch_loss(pred, image, masked, patch_size=PATCH, target=target)
    loss.backward()
    assert not pred.grad[masked == 0].any()
    assert pred.grad[masked > 0].abs().min() > 0
    wild = torch.where(masked > 0, pred.detach(), torch.nan)
    assert torch.equal(masked_patch_loss(wild, image, masked, patch_size=PATCH, target=target), loss.detach())


def test_a_two_valued_patch_is_normalised_to_plus_and_minus_one():
    image = torch.tensor([3.0, 7.0], dtype=torch.float64).repeat(8).reshape(1, 1, 4, 4)
    mean, std = patch_statistics(image, PATCH, eps=0.0)
    assert torch.equal(mean, torch.full_like(image, 5.0))
    assert torch.equal(std, torch.full_like(image, 2.0))
    loss = masked_patch_loss(torch.zeros_like(image), image, torch.ones_like(image), patch_size=PATCH)
    assert float(loss) == pytest.approx(4 / (4 + 1e-6), rel=1e-12), "eps stands beside the variance"


def test_brightness_and_contrast_of_a_patch_do_not_change_the_per_patch_loss(case):
    pred, image, masked = case
    loss, changed = (masked_patch_loss(pred, i, masked, patch_size=PATCH) for i in (image, 5 * image - 3))
    assert float(changed) == pytest.approx(float(loss), rel=1e-4)  # eps = 1e-6 beside variances near 1 and 25
    plain = [float(masked_patch_loss(pred, i, masked, patch_size=PATCH, target="plain")) for i in (image, 5 * image - 3)]
    assert plain[1] > 2 * plain[0]


def test_a_constant_patch_is_zeros_and_no_masked_pixel_gives_zero(case):
    pred, image, masked = case
    flat = torch.full_like(image, 2.5)
    assert float(masked_patch_loss(torch.zeros_like(flat), flat, masked, patch_size=PATCH)) == 0
    assert float(masked_patch_loss(pred, image, torch.zeros_like(masked), patch_size=PATCH)) == 0


def test_half_precision_is_compared_in_float32(case):
    pred, image, masked = (part.half() for part in case)
    loss = masked_patch_loss(pred * 1000, image, masked, patch_size=PATCH)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss), "1000² is more than float16 holds"


@pytest.mark.parametrize("target", ["per_patch", "plain"])
def test_a_perfect_prediction_reconstructs_the_slice(case, target):
    _, image, masked = case
    perfect = torch.from_numpy(normalised_oracle(image)) if target == "per_patch" else image
    wild = torch.where(masked > 0, perfect, 99.0)
    reconstructed = reconstruct_slices(wild, image, masked, patch_size=PATCH, target=target)
    torch.testing.assert_close(reconstructed, image, rtol=1e-12, atol=1e-12)
    assert torch.equal(reconstructed[masked == 0], image[masked == 0])


def test_wrong_arguments_are_named(case):
    with pytest.raises(InputError, match="`target` must be one of per_patch, plain, got 'patch'"):
        masked_patch_loss(*case, patch_size=PATCH, target="patch")
    with pytest.raises(InputError, match="multiple of the patch of 5 pixels"):
        masked_patch_loss(*case, patch_size=5)
