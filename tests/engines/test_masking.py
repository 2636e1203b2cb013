"""What a pretraining step takes from a batch: range, masks that are random or repeat, and a label the loss can read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import ResNet
from monai.transforms import LoadImage

from scripts.engines import MaskedPatchLoss, MaskingPrepareBatch
from scripts.errors import InputError
from scripts.networks import MaskedAutoencoder
from scripts.ops import masked_patch_loss, resize_patch_mask


@pytest.fixture
def batch():
    return {"image": torch.rand(5, 1, 96, 64, generator=torch.Generator().manual_seed(0))}


def test_slices_come_in_minus_1_to_1_with_their_masked_pixels_in_the_label(batch):
    before = batch["image"].clone()
    inputs, label, args, kwargs = MaskingPrepareBatch(32)(batch)
    assert args == ()
    assert torch.equal(inputs, before * 2 - 1)
    assert torch.equal(batch["image"], before)
    assert kwargs["visible"].shape == (5, 3, 2)
    assert torch.equal(label[:, 0], inputs[:, 0])
    assert torch.equal(label[:, 1] > 0, ~resize_patch_mask(kwargs["visible"], (96, 64)))
    assert label[:, 1].mean(dim=(1, 2)).tolist() == pytest.approx([4 / 6] * 5)


def test_a_fixed_seed_repeats_whatever_the_global_one_also_for_a_smaller_batch(batch):
    fixed, draws = MaskingPrepareBatch(32, seed=3), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        draws.append(fixed(batch)[3]["visible"])
    assert torch.equal(*draws)
    assert torch.equal(fixed({"image": batch["image"][:2]})[3]["visible"], draws[0][:2])


def test_random_masks_differ_from_call_to_call_and_follow_the_global_seed(batch):
    random, runs = MaskingPrepareBatch(32), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append([random(batch)[3]["visible"] for _ in range(2)])
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[0][1])
    assert not torch.equal(runs[0][0], runs[2][0])


@pytest.mark.parametrize("target", ["per_patch", "plain"])
def test_the_loss_object_is_the_function_on_the_label(batch, target):
    inputs, label, _, _ = MaskingPrepareBatch(32, seed=1)(batch)
    loss, pred = MaskedPatchLoss(32, target=target), torch.randn(inputs.shape)
    expected = masked_patch_loss(pred, inputs, label[:, 1:], patch_size=32, target=target)
    assert torch.equal(loss(pred, label), expected)
    reconstructed = loss.reconstruct(pred, label)
    assert torch.equal(reconstructed[label[:, 1:] == 0], inputs[label[:, 1:] == 0])


def test_wrong_arguments_are_refused(batch):
    for ratio in (0, 1, -0.5):
        with pytest.raises(InputError, match=f"`mask_ratio` must be above 0 and below 1, got {ratio}"):
            MaskingPrepareBatch(32, mask_ratio=ratio)
    with pytest.raises(InputError, match="`target` must be one of per_patch, plain, got 'mean'"):
        MaskedPatchLoss(32, target="mean")
    with pytest.raises(InputError, match="multiple of the patch of 48 pixels"):
        MaskingPrepareBatch(48)(batch)


def test_the_loss_falls_on_real_slices(data_dir: Path):
    files = sorted((data_dir / "Train" / "ds002748" / "t1").glob("*.nii.gz"))[:2]
    volumes = torch.stack([LoadImage(image_only=True)(file).as_tensor() for file in files])
    train, held_out = (volumes[..., 30:60:5] / 254).clamp(0, 1).permute(0, 3, 1, 2)[:, :, None]
    torch.manual_seed(0)
    encoder = ResNet("basic", [1] * 4, [8, 8, 16, 16], spatial_dims=2, n_input_channels=1, conv1_t_stride=2)
    network, loss = MaskedAutoencoder(encoder), MaskedPatchLoss(32)
    random, fixed = MaskingPrepareBatch(32), MaskingPrepareBatch(32, seed=1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)

    for _ in range(40):
        inputs, label, _, kwargs = random({"image": train})
        optimizer.zero_grad()
        loss(network(inputs, **kwargs), label).backward()
        optimizer.step()
    inputs, label, _, kwargs = fixed({"image": held_out})
    with torch.no_grad():
        value, flat = loss(network(inputs, **kwargs), label), loss(torch.zeros_like(inputs), label)
    assert value < 0.8 * flat, "a subject that was not trained on is reconstructed better than by the mean of each patch"
