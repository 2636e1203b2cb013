"""A step's input, target, noise and timesteps: right ranges, random where wanted, repeatable where wanted."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDPMScheduler
from torch import nn

from scripts.engines import DenoisingPrepareBatch
from scripts.ops import make_noise


@pytest.fixture
def batch():
    images = torch.rand(5, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    return {"image": images, "brain_mask": images > 0.5}


def prepare(batch, **options):
    inputs, target, args, kwargs = DenoisingPrepareBatch(**options)(batch)
    assert args == ()
    return inputs, target, kwargs


def test_target_and_condition_are_the_clean_slice_in_minus_1_to_1(batch):
    before = batch["image"].clone()
    inputs, target, kwargs = prepare(batch)
    assert torch.equal(inputs, before * 2 - 1)
    assert torch.equal(target, inputs)
    assert torch.equal(kwargs["condition"], inputs)
    assert inputs.min() == -1
    assert inputs.max() == 1
    assert torch.equal(batch["image"], before)


@pytest.mark.parametrize("noise", ["simplex", "gaussian"])
def test_every_slice_has_its_own_field_of_the_kind_asked_for(batch, noise):
    _, _, kwargs = prepare(batch, noise=noise, seed=7)
    expected = make_noise(noise, 5, 1, (12, 10), 7)
    assert torch.equal(kwargs["noise"], expected)
    assert kwargs["noise"].shape == (5, 1, 12, 10)
    assert len({tuple(field.flatten().tolist()) for field in kwargs["noise"]}) == 5


def test_fixed_seed_and_timestep_repeat_whatever_the_global_seed(batch):
    fixed, draws = DenoisingPrepareBatch(seed=3, timestep=400), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        draws.append(fixed(batch)[3])
    assert torch.equal(draws[0]["noise"], draws[1]["noise"])
    assert draws[0]["timesteps"].tolist() == draws[1]["timesteps"].tolist() == [400] * 5
    # A last batch that is smaller gets the same noise at the same positions.
    smaller = fixed({"image": batch["image"][:2]})[3]
    assert torch.equal(smaller["noise"], draws[0]["noise"][:2])


def test_random_samples_differ_and_follow_the_global_seed(batch):
    random, runs = DenoisingPrepareBatch(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append([random(batch)[3] for _ in range(2)])
    first, again, other = runs
    for name in ("noise", "timesteps"):
        assert torch.equal(first[0][name], again[0][name])
        assert torch.equal(first[1][name], again[1][name])
        assert not torch.equal(first[0][name], first[1][name])
        assert not torch.equal(first[0][name], other[0][name])


def test_random_timesteps_cover_the_schedule(batch):
    torch.manual_seed(0)
    drawn = torch.cat([prepare(batch, num_train_timesteps=8, noise="gaussian")[2]["timesteps"] for _ in range(60)])
    assert drawn.dtype == torch.long
    assert set(drawn.tolist()) == set(range(8))


def test_random_timesteps_stay_in_their_range(batch):
    torch.manual_seed(0)
    options = {"num_train_timesteps": 50, "timestep_range": [10, 13], "noise": "gaussian"}
    drawn = torch.cat([prepare(batch, **options)[2]["timesteps"] for _ in range(40)])
    assert set(drawn.tolist()) == {10, 11, 12, 13}


def test_the_healthy_slice_is_the_target_of_an_altered_one(batch):
    healthy = batch["image"] / 2
    inputs, target, _, kwargs = DenoisingPrepareBatch(seed=1)({**batch, "healthy": healthy})
    torch.testing.assert_close(target, healthy * 2 - 1)
    torch.testing.assert_close(inputs, batch["image"] * 2 - 1)
    assert torch.equal(kwargs["condition"], inputs)


def test_monais_inferer_noises_the_slice_and_passes_the_condition(batch):
    seen = {}

    class Network(nn.Module):
        def forward(self, x, timesteps, context):
            seen.update(x=x, timesteps=timesteps, context=context)
            return x

    scheduler = DDPMScheduler(schedule="cosine", prediction_type="sample", clip_sample=False)
    inputs, _, args, kwargs = DenoisingPrepareBatch(seed=1, timestep=500)(batch)
    DiffusionInferer(scheduler)(inputs, Network(), *args, **kwargs)
    share = scheduler.alphas_cumprod[500]
    torch.testing.assert_close(seen["x"], share.sqrt() * inputs + (1 - share).sqrt() * kwargs["noise"])
    assert torch.equal(seen["context"], inputs)
    assert seen["timesteps"].tolist() == [500] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "perlin"}, r"`noise` must be one of simplex, gaussian, got 'perlin'"),
        ({"timestep": 1000}, "`timestep` must be from 0 to 999, got 1000"),
        ({"timestep": -1}, "`timestep` must be from 0 to 999, got -1"),
        ({"timestep": 50, "num_train_timesteps": 50}, "`timestep` must be from 0 to 49, got 50"),
        ({"timestep_range": [5, 1000]}, r"`timestep_range` must be two timesteps from 0 to 999, got \[5, 1000\]"),
        ({"timestep_range": [9, 8]}, r"`timestep_range` must be two timesteps from 0 to 999, got \[9, 8\]"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DenoisingPrepareBatch(**options)
