"""Masked pixels cannot reach visible features, at any layer; without a mask the network is the library's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet
from torch import nn

from scripts.errors import InputError
from scripts.networks import SparseEncoder
from scripts.ops import resize_patch_mask, sample_patch_mask

from .conftest import randomize

SIZES = {
    "compact": {"block": "basic", "layers": [1, 1, 1, 1]},
    "resnet18": {"block": "basic", "layers": [2, 2, 2, 2]},
    "resnet34": {"block": "basic", "layers": [3, 4, 6, 3]},
    "resnet50": {"block": "bottleneck", "layers": [3, 4, 6, 3]},
    "leaky stem": {"block": "basic", "layers": [1, 1, 1, 1], "act": ("leakyrelu", {"negative_slope": 0.5})},
    "shortcut A": {"block": "basic", "layers": [1, 1, 1, 1], "shortcut_type": "A"},
    "biased, no pool": {"block": "basic", "layers": [1, 1, 1, 1], "no_max_pool": True, "bias_downsample": True},
}


def make_resnet(name="compact", **options) -> ResNet:
    """A ResNet of the depth asked for, thin, in float64, with random weights and running statistics."""
    settings = {"block_inplanes": [4, 5, 6, 7], "conv1_t_stride": 2, "bias_downsample": False, "num_classes": 3}
    network = ResNet(spatial_dims=2, n_input_channels=1, **(settings | SIZES[name] | options))
    randomize(network)
    return network.double()


@pytest.fixture
def masked_slices():
    """Slices [3, 1, 128, 64], a patch mask for patches of 32, and which pixels are masked."""
    generator = torch.Generator().manual_seed(1)
    slices = torch.randn(3, 1, 128, 64, generator=generator, dtype=torch.float64)
    visible = sample_patch_mask(3, (4, 2), 0.65, generator=generator)
    return slices, visible


def mask_for(encoder: SparseEncoder, slices: torch.Tensor) -> torch.Tensor:
    grid = [side // encoder.patch_size for side in slices.shape[-2:]]
    return sample_patch_mask(len(slices), grid, 0.65, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_masked_pixels_influence_nothing_and_masked_positions_are_zero(name, training, masked_slices):
    slices, _ = masked_slices
    encoder = SparseEncoder(make_resnet(name)).train(training)
    other = copy.deepcopy(encoder)
    visible = mask_for(encoder, slices)
    hidden = ~resize_patch_mask(visible, slices.shape[-2:])[:, None]
    slices = slices.requires_grad_()
    features = encoder(slices, visible)
    sum(maps.square().sum() for maps in features).backward()
    assert not slices.grad[hidden].any()
    assert slices.grad[~hidden].abs().mean() > 0
    wild = other(slices.detach().masked_fill(hidden, torch.nan), visible)
    for maps, again in zip(features, wild, strict=True):
        assert torch.equal(maps, again)
        empty = ~resize_patch_mask(visible, maps.shape[-2:])[:, None].expand_as(maps)
        assert not maps[empty].any()
        assert maps[~empty].abs().mean() > 0
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in encoder.state_dict().items()), "running statistics too"


@pytest.mark.parametrize("name", ["compact", "resnet50", "leaky stem"])
def test_every_layer_leaves_masked_positions_at_exactly_zero(name, masked_slices):
    slices, visible = masked_slices
    encoder = SparseEncoder(make_resnet(name)).train()
    seen = []
    for module in encoder.encoder.modules():
        if not list(module.children()) and module is not encoder.encoder.avgpool:
            module.register_forward_hook(lambda *call: seen.append(call[2].clone()))
    encoder(slices, visible)
    assert len(seen) >= 20
    for maps in seen:
        empty = ~resize_patch_mask(visible, maps.shape[-2:])
        assert not maps.movedim(1, -1)[empty].any()


def test_batch_norms_take_the_statistics_of_the_visible_positions(masked_slices):
    slices, visible = masked_slices
    encoder = SparseEncoder(make_resnet("resnet18")).train()
    before = copy.deepcopy(encoder.state_dict())
    inputs = {}
    for name, module in encoder.encoder.named_modules():
        if isinstance(module, nn.BatchNorm2d):  # before the encoder's own hook gathers, the maps are whole
            hook = lambda _, args, name=name: inputs.__setitem__(name, args[0].detach().clone())  # noqa: E731
            module.register_forward_pre_hook(hook, prepend=True)
    encoder(slices, visible)
    assert len(inputs) == 20
    after = encoder.state_dict()
    for name, maps in inputs.items():
        shown = resize_patch_mask(visible, maps.shape[-2:])
        values = maps.movedim(1, -1)[shown].numpy()
        for key, statistic in (("running_mean", values.mean(axis=0)), ("running_var", values.var(axis=0, ddof=1))):
            key = f"encoder.{name}.{key}"
            # float64 against numpy: only the order of summation differs
            np.testing.assert_allclose(after[key].numpy(), 0.9 * before[key].numpy() + 0.1 * statistic, rtol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["compact", "resnet50", "leaky stem"])
def test_with_nothing_masked_it_is_the_dense_network(name, training, masked_slices):
    slices, visible = masked_slices
    encoder = SparseEncoder(make_resnet(name)).train(training)
    dense = copy.deepcopy(encoder)
    for maps, expected in zip(encoder(slices, torch.ones_like(visible)), dense(slices), strict=True):
        # batch norm over a list and over maps sum in another order, and deep networks of random weights amplify that
        torch.testing.assert_close(maps, expected, rtol=1e-7, atol=1e-9)
    for key, value in dense.state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[key], value, rtol=1e-7, atol=1e-9)


def test_without_a_mask_the_library_network_computes_as_ever_also_after_a_failed_call(masked_slices):
    slices, visible = masked_slices
    network = make_resnet().eval()
    plain = copy.deepcopy(network)
    plain.fc = None
    encoder = SparseEncoder(network)
    encoder(slices, visible)
    with pytest.raises(InputError, match="boolean mask"):
        encoder(slices, visible.double())
    assert torch.equal(network(slices), plain(slices))
    assert set(network.state_dict()) == set(plain.state_dict()), "exactly the library's keys"


def test_sizes_are_read_from_the_network():
    encoder = SparseEncoder(make_resnet("resnet50"))
    assert encoder.channels == (16, 20, 24, 28)
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.patch_size == 32
    assert SparseEncoder(make_resnet("biased, no pool")).strides == (2, 4, 8, 16)
    assert SparseEncoder(make_resnet(conv1_t_stride=1)).patch_size == 16


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Conv2d(1, 2, 3), "must be a monai.networks.nets.ResNet in 2D, got Conv2d"),
        (ResNet("basic", [1] * 4, [4] * 4, spatial_dims=3), "must be a monai.networks.nets.ResNet in 2D"),
        (ResNet("basic", [1] * 4, [4] * 4, spatial_dims=2, norm=("group", {"num_groups": 2})), r"batch norms.*got GroupNorm \(bn1\)"),
        (ResNet("basic", [1] * 4, [4] * 4, spatial_dims=2, conv1_t_size=4), r"powers of two.*got maps of \[129"),
        (ResNet("basic", [1] * 4, [4] * 4, spatial_dims=2, conv1_t_stride=3), "powers of two"),
    ],
)
def test_networks_that_cannot_be_sparse_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        SparseEncoder(network)
