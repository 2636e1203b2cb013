"""The sampler: which draws, how often the network runs, and on what."""

from __future__ import annotations

import pytest
import torch

from scripts.inferers import ReconstructionSampler
from scripts.ops import make_noise


@pytest.fixture
def make(scheduler):
    def _make(**options):
        return ReconstructionSampler(scheduler=scheduler, **({"num_samples": 4, "progress": False} | options))

    return _make


@pytest.fixture
def volume(volumes):
    """One volume and its mask, slices first, with two slices in the middle that hold no brain."""
    images, masks = volumes
    image, mask = images[0, 0].permute(2, 0, 1).contiguous(), masks[0, 0].permute(2, 0, 1) > 0
    mask[[4, 5]] = False
    return image, mask


def brain_slices(mask):
    return [index for index in range(len(mask)) if mask[index].any()]


def test_only_slices_with_brain_are_forwarded_k_times_each(make, volume, recorder):
    image, mask = volume
    network = recorder()
    result = make()(image, network, mask)
    inside = brain_slices(mask)
    assert 4 not in inside
    _, _, conditions = network.seen()
    assert torch.equal(conditions, (image[inside] * 2 - 1)[:, None].repeat(4, 1, 1, 1))
    assert result.shape == (4, *image.shape)
    assert not result[:, ~mask].any()


@pytest.mark.parametrize("memory_budget_mb", [0.001, 2.0, 512.0])
def test_the_encoder_sees_each_slice_once(make, volume, encoding_recorder, recorder, memory_budget_mb):
    image, mask = volume
    network = encoding_recorder()
    result = make(memory_budget_mb=memory_budget_mb)(image, network, mask)
    assert network.encoded == len(brain_slices(mask))
    torch.testing.assert_close(result, make()(image, recorder(), mask), atol=1e-6, rtol=0)


def test_unconditioned_networks_get_no_context(make, volume):
    class Network(torch.nn.Module):
        def encode(self, image):
            return None

        def forward(self, x, timesteps, context):
            assert context is None
            return x

    image, mask = volume
    assert make()(image, Network(), mask)[:, mask].std() > 0.1


@pytest.mark.parametrize("noise", ["simplex", "gaussian"])
@pytest.mark.parametrize("shared", [True, False])
def test_the_noise_of_a_position_is_the_one_of_the_seed(make, volume, recorder, scheduler, noise, shared):
    image, mask = volume
    network, inside = recorder(), brain_slices(mask)
    make(noise=noise, shared_noise=shared, seed=5)(image, network, mask)
    noisy, steps, clean = network.seen()
    share = scheduler.alphas_cumprod[steps][:, None, None, None]
    fields = ((noisy - share.sqrt() * clean) / (1 - share).sqrt()).unflatten(0, (4, len(inside)))[:, :, 0]
    expected = make_noise(noise, 4, len(image), image.shape[1:], 5, shared=shared)
    expected = expected.expand(-1, len(image), -1, -1)[:, inside]
    # Taken back out of a float32 sum.
    torch.testing.assert_close(fields, expected, atol=1e-5, rtol=0)
    assert torch.allclose(fields[:, 0], fields[:, 1], atol=1e-5) is shared
    assert not torch.allclose(fields[0], fields[1], atol=0.1)


@pytest.mark.parametrize("shared", [True, False])
def test_the_first_samples_of_ten_are_the_five(make, volume, recorder, network, shared):
    image, mask = volume
    for given, tolerance in ((recorder(), 0), (network, 1e-5)):  # a network's convolutions depend on the batch's size
        few, many = (make(num_samples=k, shared_noise=shared)(image, given, mask) for k in (5, 10))
        torch.testing.assert_close(many[:5], few, atol=tolerance, rtol=0)
    assert len({tuple(draw.flatten().tolist()) for draw in many}) == 10


def test_samples_of_a_slice_do_not_depend_on_which_others_hold_brain(make, volume, recorder):
    image, mask = volume
    only = torch.zeros_like(mask)
    only[3] = mask[3]
    options = {"shared_noise": False, "memory_budget_mb": 0.001}
    expected = make(**options)(image, recorder(), mask)
    assert torch.equal(make(**options)(image, recorder(), only)[:, 3], expected[:, 3])


def test_timesteps_are_dealt_out_to_the_samples_in_turn(make, volume, recorder):
    image, mask = volume
    network = recorder()
    make(timestep=[100, 500, 900])(image, network, mask)
    _, steps, _ = network.seen()
    per_draw = steps.unflatten(0, (4, len(brain_slices(mask))))
    assert per_draw.unique(dim=1).flatten().tolist() == [100, 500, 900, 100]


def test_one_timestep_in_a_list_is_that_timestep(make, volume, recorder):
    image, mask = volume
    assert torch.equal(make(timestep=[300])(image, recorder(), mask), make(timestep=300)(image, recorder(), mask))


def test_reconstructions_are_clipped_to_0_and_1(make, volume):
    class Network(torch.nn.Module):
        def forward(self, x, timesteps, context):
            return 5 * x

    image, mask = volume
    result = make()(image, Network(), mask)
    assert result.min() == 0
    assert result.max() == 1


def test_batches_fit_the_budget_and_hold_at_least_one_slice(make, network, recorder):
    pixels = 96 * 96
    small, large = make(memory_budget_mb=64), make(memory_budget_mb=256)
    assert large.batch_size(network, pixels) == pytest.approx(4 * small.batch_size(network, pixels), abs=4)
    assert small.batch_size(network, pixels) > small.batch_size(recorder(), pixels)  # 8 channels against an assumed 64
    assert make(memory_budget_mb=1e-6).batch_size(network, pixels) == 1
