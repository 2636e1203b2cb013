"""The conditioned U-Net: the condition matters where it should, is encoded once, and fits both libraries."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from scripts.networks import ConditionedUNet, Conditioning


def test_condition_changes_the_output(tiny_network, batch):
    network, (noisy, steps, clean) = tiny_network(), batch
    difference = (network(noisy, steps, clean) - network(noisy, steps, -clean)).abs()
    assert (difference.flatten(1).amax(1) > 0.01).all()


def test_unconditioned_network_ignores_the_condition(tiny_network, batch):
    network, (noisy, steps, clean) = tiny_network("none"), batch
    assert network.encoder is None
    assert network.encode(clean) is None
    expected = network(noisy, steps)
    for context in (clean, -clean, None):
        assert torch.equal(network(noisy, steps, context), expected)


@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_timestep_and_noised_slice_change_the_output(tiny_network, batch, conditioning):
    network, (noisy, steps, clean) = tiny_network(conditioning), batch
    expected = network(noisy, steps, clean)
    assert not torch.allclose(network(noisy, steps.flip(0), clean)[0], expected[0])
    assert not torch.allclose(network(noisy.flip(0), steps, clean)[0], expected[0])


def test_features_given_equal_slices_given(tiny_network, batch):
    network, (noisy, steps, clean) = tiny_network(), batch
    features = network.encode(clean)
    assert features.shape == (3, network.feature_dim)
    assert torch.equal(network(noisy, steps, features), network(noisy, steps, clean))


def test_samples_of_a_batch_do_not_mix(tiny_network, batch):
    network, (noisy, steps, clean) = tiny_network(), batch
    together = network(noisy, steps, clean)
    alone = torch.cat([network(noisy[i : i + 1], steps[i : i + 1], clean[i : i + 1]) for i in range(3)])
    # Convolutions may sum in another order for another batch size: float32 rounding of values of size 10.
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("resblock_updown", [False, True])
@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_same_weights_give_the_same_output_in_monai_core(tiny_network, batch, conditioning, resblock_updown):
    options, (noisy, steps, clean) = {"resblock_updown": resblock_updown}, batch
    ours = tiny_network(conditioning, unet_options=options)
    core = tiny_network(conditioning, "monai", seed=9, unet_options=options)
    weights = ours.unet.state_dict()
    core.unet.load_old_state_dict(dict(weights))
    if ours.encoder is not None:
        core.encoder.load_state_dict(ours.encoder.state_dict())
    assert sum(p.numel() for p in core.unet.parameters()) == sum(
        # monai-generative's self-attention has an output projection that it never calls
        value.numel()
        for name, value in weights.items()
        if "proj_attn" not in name
    )
    expected = ours(noisy, steps, clean)
    assert expected.std() > 0.1
    # The same float32 sums in another order.
    torch.testing.assert_close(core(noisy, steps, clean), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_gradients_reach_every_weight(tiny_network, batch, conditioning):
    network, (noisy, steps, clean) = tiny_network(conditioning), batch
    network(noisy, steps, clean).square().mean().backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert not [name for name in silent if "proj_attn" not in name]


@pytest.mark.parametrize("library", ["generative", "monai"])
@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_recomputed_activations_change_no_gradient_and_take_less_memory(tiny_network, batch, conditioning, library):
    plain, (noisy, steps, clean) = tiny_network(conditioning, library), batch
    lean = tiny_network(conditioning, library, activation_checkpointing=True)
    assert list(lean.state_dict()) == list(plain.state_dict())
    kept = []
    for network in (plain, lean, copy.deepcopy(lean)):  # the average of the weights is a copy
        network.load_state_dict(plain.state_dict())
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            loss = network(noisy, steps, clean).square().mean()
        loss.backward()
        kept.append(sum(sizes))
    assert kept[1] == kept[2] < 0.6 * kept[0]
    for (name, p), q in zip(plain.named_parameters(), lean.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(lean(noisy, steps, clean), plain(noisy, steps, clean))


@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_bfloat16_autocast_returns_float32_that_is_close(tiny_network, batch, conditioning):
    exact, (noisy, steps, clean) = tiny_network(conditioning), batch
    fast = tiny_network(conditioning, autocast_dtype="bfloat16")
    fast.load_state_dict(exact.state_dict())
    expected, output = exact(noisy, steps, clean), fast(noisy, steps, clean)
    assert output.dtype == torch.float32
    assert not torch.equal(output, expected)
    # bfloat16 has 8 significant bits (0.4 %), and some twenty layers add up their rounding.
    assert (output - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_without_an_autocast_type_an_outer_autocast_changes_nothing(tiny_network, batch):
    network, (noisy, steps, clean) = tiny_network(), batch
    expected = network(noisy, steps, clean)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(noisy, steps, clean), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"conditioning": "concat"},
            r"`conditioning` must be one of film, none, got 'concat'",
        ),
        ({"encoder": None}, "`encoder` must be a network for conditioning film, got None"),
        ({"autocast_dtype": "bf16"}, "`autocast_dtype` must be one of bfloat16, float16, or none, got 'bf16'"),
    ],
)
def test_wrong_combinations_are_refused(library_unet, options, message):
    with pytest.raises(ValueError, match=message):
        ConditionedUNet(library_unet(), **({"encoder": nn.Identity()} | options))


def test_a_unet_with_its_own_context_is_refused(library_unet):
    unet = library_unet(with_conditioning=True, cross_attention_dim=6)
    with pytest.raises(ValueError, match="with_conditioning=False, got with_conditioning=True"):
        ConditionedUNet(unet, nn.Identity())


def test_a_missing_condition_is_refused(tiny_network, batch):
    noisy, steps, _ = batch
    with pytest.raises(ValueError, match="`context` must be slices or features for conditioning film, got None"):
        tiny_network()(noisy, steps)
