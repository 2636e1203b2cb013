"""Small networks whose every layer matters: the libraries start some layers at zero, which would hide mistakes."""

from __future__ import annotations

import generative.networks.nets as generative_nets
import monai.networks.nets as monai_nets
import pytest
import torch
from torch import nn

from scripts.networks import ConditionedUNet

SIZES = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 1,
    "num_res_blocks": 1,
    "attention_levels": [False, True],
    "num_head_channels": 8,
    "norm_num_groups": 4,
}
FEATURE_DIM = 6


def randomize(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            shift = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(shift + 0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def make_library_unet(library="generative", *, channels=(8, 16), **options) -> nn.Module:
    options = SIZES | options
    if library == "generative":
        return generative_nets.DiffusionModelUNet(num_channels=channels, **options)
    # monai-generative projects the output of self-attention in its transformers, but not in its plain attention blocks.
    return monai_nets.DiffusionModelUNet(channels=channels, include_fc=False, **options)


@pytest.fixture
def library_unet():
    return make_library_unet


@pytest.fixture
def tiny_network():
    """Factory: a ConditionedUNet with random weights, and a linear layer on the pixels as its encoder."""

    def make(conditioning="film", library="generative", *, seed=0, size=16, unet_options=None, **options):
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(size * size, FEATURE_DIM))
        unet = make_library_unet(library, **(unet_options or {}))
        network = ConditionedUNet(unet, encoder, feature_dim=FEATURE_DIM, conditioning=conditioning, **options)
        return randomize(network, seed)

    return make


@pytest.fixture
def batch():
    """Noised slices, timesteps and clean slices."""
    generator = torch.Generator().manual_seed(1)
    noisy, clean = (torch.randn(3, 1, 16, 16, generator=generator) for _ in range(2))
    return noisy, torch.tensor([0, 400, 999]), clean.clamp(-1, 1)
