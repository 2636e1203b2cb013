"""The FiLM block does what its formula says, and it is all that `apply_film` changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import nn

from scripts.networks import FilmResnetBlock, apply_film


def silu(x):
    return x / (1 + np.exp(-x))


def group_norm(x, weight, bias, groups, eps=1e-6):
    grouped = x.reshape(len(x), groups, -1)
    mean, variance = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    scaled = ((grouped - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    return scaled * weight[:, None, None] + bias[:, None, None]


def conv(x, weight, bias):
    margin = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    planes = [
        [sum(correlate(i, k, "valid") for i, k in zip(image, filters, strict=True)) for filters in weight]
        for image in padded
    ]
    return np.array(planes) + bias[:, None, None]


def resample(x, how):
    if how == "down":
        return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5))
    return x.repeat(2, 2).repeat(2, 3) if how == "up" else x


def naive_block(weights, x, emb, how, groups=4):
    """h = conv2(silu(norm2(conv1(silu(norm1 x))) (1 + scale) + shift)), plus the skip connection."""
    h = resample(silu(group_norm(x, weights["norm1.weight"], weights["norm1.bias"], groups)), how)
    h = conv(h, weights["conv1.conv.weight"], weights["conv1.conv.bias"])
    projection = silu(emb) @ weights["time_emb_proj.weight"].T + weights["time_emb_proj.bias"]
    scale, shift = np.split(projection[:, :, None, None], 2, axis=1)
    h = group_norm(h, weights["norm2.weight"], weights["norm2.bias"], groups) * (1 + scale) + shift
    h = conv(silu(h), weights["conv2.conv.weight"], weights["conv2.conv.bias"])
    x = resample(x, how)
    if "skip_connection.conv.weight" in weights:
        x = conv(x, weights["skip_connection.conv.weight"], weights["skip_connection.conv.bias"])
    return x + h


def library_block(library, how, out_channels):
    if library == "generative":
        from generative.networks.nets.diffusion_model_unet import ResnetBlock as Block
    else:
        from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock as Block
    return Block(2, 8, 10, out_channels, up=how == "up", down=how == "down", norm_num_groups=4)


@pytest.mark.parametrize("library", ["generative", "monai"])
@pytest.mark.parametrize(("how", "out_channels"), [("same", 12), ("down", 8), ("up", 8)])
def test_block_equals_the_formula_written_out(library, how, out_channels):
    torch.manual_seed(0)
    block = FilmResnetBlock(library_block(library, how, out_channels)).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    x, emb = torch.randn(2, 8, 6, 8, dtype=torch.float64), torch.randn(2, 10, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in block.state_dict().items()}
    expected = naive_block(weights, x.numpy(), emb.numpy(), how)
    # Both are float64 sums of at most a hundred terms of size one.
    np.testing.assert_allclose(block(x, emb).detach().numpy(), expected, atol=1e-11)


def test_block_takes_over_names_and_weights_of_the_librarys():
    original = library_block("generative", "same", 12)
    kept = {k: v.clone() for k, v in original.state_dict().items() if not k.startswith("time_emb_proj")}
    film = FilmResnetBlock(original)
    assert set(film.state_dict()) == set(original.state_dict())
    assert all(torch.equal(film.state_dict()[name], value) for name, value in kept.items())
    assert film.time_emb_proj.weight.shape == (24, 10)


@pytest.mark.parametrize("library", ["generative", "monai"])
def test_every_block_of_a_unet_is_replaced_once(library_unet, library):
    unet = library_unet(library, resblock_updown=True)
    before = [name for name, module in unet.named_modules() if hasattr(module, "time_emb_proj")]
    # One on each level down, two on each level up, two in the middle, and one for each change of level.
    assert apply_film(unet) == len(before) == 2 + 4 + 2 + 2
    after = [name for name, module in unet.named_modules() if isinstance(module, FilmResnetBlock)]
    assert after == before
    with pytest.raises(ValueError, match="`unet` must hold residual blocks with a `time_emb_proj` layer, got none"):
        apply_film(unet)
