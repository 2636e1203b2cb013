"""Networks that show what the inferer asks of them, and volumes to ask about."""

from __future__ import annotations

import pytest
import torch
from generative.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import nn

from scripts.data.phantom import phantom_volume
from scripts.networks import ConditionedUNet

SHAPE = (16, 16, 10)


class Recorder(nn.Module):
    """Return a mix of condition and noised slice, and keep what it was called with; no `encode`."""

    def __init__(self, mix: float = 0.05) -> None:
        super().__init__()
        self.mix = mix
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def forward(self, x, timesteps, context=None):
        self.calls.append((x.clone(), timesteps.clone(), context.clone()))
        return context + self.mix * x

    def seen(self) -> tuple[torch.Tensor, ...]:
        """Return all noised slices, timesteps and conditions in the order in which they came."""
        return tuple(torch.cat(parts) for parts in zip(*self.calls, strict=True))


class EncodingRecorder(Recorder):
    """The same with an `encode` whose features are the flattened slice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode(self, image):
        self.encoded += len(image)
        return image.flatten(1)

    def forward(self, x, timesteps, context=None):
        return super().forward(x, timesteps, context.unflatten(1, x.shape[1:]))


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture
def encoding_recorder():
    return EncodingRecorder


@pytest.fixture
def scheduler():
    return DDPMScheduler(num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False)


@pytest.fixture
def volumes():
    """Two phantoms and their brain masks, [2, 1, H, W, D] each."""
    made = [phantom_volume(SHAPE, seed, lesion=True) for seed in (0, 1)]
    images, masks = (torch.stack([torch.from_numpy(case[i].copy()) for case in made])[:, None] for i in (0, 1))
    return images, masks


@pytest.fixture
def network():
    """A ConditionedUNet of 20,000 random weights, no layer of which is zero."""
    torch.manual_seed(0)
    sizes = {"num_res_blocks": 1, "attention_levels": [False, True], "num_head_channels": 8, "norm_num_groups": 4}
    unet = DiffusionModelUNet(spatial_dims=2, in_channels=1, out_channels=1, num_channels=[8, 16], **sizes)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 6))
    made = ConditionedUNet(unet, encoder, feature_dim=6)
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return made.eval()
