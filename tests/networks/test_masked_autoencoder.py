"""The decoder fills every level with its token, sees no masked pixel, and the whole network learns to reconstruct."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import ResNet

from scripts.data.phantom import phantom_volume
from scripts.engines import MaskedPatchLoss, MaskingPrepareBatch
from scripts.errors import InputError
from scripts.networks import Densify, HierarchicalDecoder, MaskedAutoencoder
from scripts.ops import resize_patch_mask, sample_patch_mask


def make_autoencoder(seed: int = 0, **options) -> MaskedAutoencoder:
    torch.manual_seed(seed)
    encoder = ResNet(
        "basic", [1] * 4, [8, 8, 16, 16], spatial_dims=2, n_input_channels=1, conv1_t_stride=2, bias_downsample=False
    )
    return MaskedAutoencoder(encoder, **options)


def draw(num_slices, grid, seed=0):
    return sample_patch_mask(num_slices, grid, 0.65, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (128, 160)])
def test_any_multiple_of_the_stride_is_reconstructed_at_its_size(size):
    network = make_autoencoder()
    assert network.patch_size == 32
    slices = torch.rand(2, 1, *size)
    assert network(slices, draw(2, (size[0] // 32, size[1] // 32))).shape == slices.shape


@pytest.mark.parametrize("size", [(96, 80), (100, 96), (16, 32)])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match=rf"multiple of the patch of 32 pixels in height and width, got {size[0]}×{size[1]}"):
        make_autoencoder()(torch.rand(2, 1, *size), draw(2, (3, 3)))


def test_a_mask_of_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"`visible` must have the shape \(2, 3, 3\), got \(2, 6, 6\)"):
        make_autoencoder()(torch.rand(2, 1, 96, 96), draw(2, (6, 6)))


def test_what_is_reconstructed_does_not_depend_on_masked_pixels():
    network = make_autoencoder()
    slices, visible = torch.rand(3, 1, 96, 96), draw(3, (3, 3))
    hidden = ~resize_patch_mask(visible, (96, 96))[:, None]
    network.eval()
    assert torch.equal(network(slices, visible), network(slices.masked_fill(hidden, torch.nan), visible))


def test_densify_puts_the_token_where_nothing_is_visible():
    level = Densify(3, 2)
    torch.nn.init.dirac_(level.projection.weight)
    torch.nn.init.zeros_(level.projection.bias)
    features, visible = torch.randn(2, 3, 6, 6), draw(2, (3, 3))
    mask = resize_patch_mask(visible, (6, 6))
    filled = level(features, visible).movedim(1, -1)
    assert torch.equal(filled[~mask], level.mask_token[:2].expand(int((~mask).sum()), 2))
    # batch norm leaves float32 sums of some dozens of values near 0 with rounding errors of 1e-7
    torch.testing.assert_close(filled[mask].mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)


def test_every_parameter_gets_a_gradient_the_tokens_of_all_levels_too():
    network = make_autoencoder()
    network(torch.rand(4, 1, 96, 96), draw(4, (3, 3))).square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    tokens = [parameter for name, parameter in network.named_parameters() if name.endswith("mask_token")]
    assert [len(token) for token in tokens] == [16, 16, 8, 8]
    assert all(token.grad.any() for token in tokens)


def test_the_widths_halve_from_the_deepest_level_on():
    def widths(decoder):
        return [level.projection.out_channels for level in decoder.densify] + [decoder.head.in_channels]

    assert widths(HierarchicalDecoder([256, 512, 1024, 2048], [4, 8, 16, 32])) == [512, 256, 128, 64, 16]
    assert widths(HierarchicalDecoder([16, 32, 64, 128], [4, 8, 16, 32])) == [128, 64, 32, 16, 8]
    assert widths(HierarchicalDecoder([16, 32, 64, 128], [4, 8, 16, 32], width=4)) == [4] * 5


@pytest.mark.parametrize(
    ("strides", "options", "message"),
    [([4, 8, 16], {}, r"`strides` must double"), ([4, 8, 16, 64], {}, "must double"), ([4, 8, 16, 32], {"width": 0}, "`width` must be")],
)
def test_levels_that_do_not_agree_are_refused(strides, options, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalDecoder([8, 8, 8, 8], strides, **options)


@pytest.mark.parametrize("target", ["per_patch", "plain"])
def test_the_network_learns_to_reconstruct_phantoms(target):
    volume = torch.as_tensor(phantom_volume((64, 64, 16), seed=0)[0])
    slices = volume.permute(2, 0, 1)[4:12:2, None]
    network, loss = make_autoencoder(), MaskedPatchLoss(32, target=target)
    inputs, label, _, kwargs = MaskingPrepareBatch(32, mask_ratio=0.5, seed=0)({"image": slices})
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        value = loss(network(inputs, **kwargs), label)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    flat = loss(label[:, :1] * (label[:, 1:] == 0), label)  # zeros where masked: the mean of each patch, or mid-grey
    assert value < 0.85 * flat
