"""A pretrained encoder is loaded whole or refused, and the last layer, which pretraining does not reach, is left alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.errors import InputError
from scripts.networks import MaskedAutoencoder, load_encoder

from .conftest import randomize


def build(root: Path, name: str, key: str, *overlays: str, **overrides: object) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{config}.yaml") for config in (name, *overlays)])
    parser.update(overrides)
    return parser.get_parsed_content(key)


@pytest.fixture
def saved(root: Path, tmp_path: Path) -> Path:
    """The encoder that pretraining trains, with random weights, as it is saved."""
    autoencoder = build(root, "train", "autoencoder", "pretrain")
    encoder = randomize(autoencoder, 3).sparse_encoder.encoder
    torch.save(encoder.state_dict(), tmp_path / "encoder.pt")
    return tmp_path / "encoder.pt"


def test_the_pretrained_encoder_fits_the_network_of_train_yaml_exactly(root, saved):
    network = build(root, "train", "network_def")
    before = copy.deepcopy(network.state_dict())
    assert load_encoder(network, saved) is network
    state, loaded = torch.load(saved, weights_only=True), 0
    for name, value in network.state_dict().items():
        own = name.removeprefix("encoder.")
        expected = state[own] if name.startswith("encoder.") and own in state else before[name]
        assert torch.equal(value, expected), name
        loaded += own in state
    assert loaded == len(state)
    missing = {name for name in before if name.startswith("encoder.")} - {f"encoder.{name}" for name in state}
    assert missing == {"encoder.fc.weight", "encoder.fc.bias"}


def test_the_reference_overlay_serves_pretraining_and_training(root, tmp_path):
    encoder = build(root, "train", "network_def#encoder", "pretrain", "network_reference")
    autoencoder = MaskedAutoencoder(encoder)
    assert autoencoder.sparse_encoder.channels == (256, 512, 1024, 2048)
    assert autoencoder.decoder.densify[0].projection.out_channels == 512
    conditioned = torch.nn.Module()
    conditioned.encoder = build(root, "train", "network_def#encoder", "network_reference")
    torch.save(encoder.state_dict(), tmp_path / "encoder.pt")
    load_encoder(conditioned, tmp_path / "encoder.pt")
    assert torch.equal(conditioned.encoder.layer4[2].conv3.weight, encoder.layer4[2].conv3.weight)


def test_a_file_with_the_last_layer_is_loaded_with_it(root, tmp_path):
    source, target = (randomize(build(root, "train", "network_def"), seed) for seed in (1, 2))
    torch.save({"model": source.encoder.state_dict()}, tmp_path / "encoder.pt")
    load_encoder(target, tmp_path / "encoder.pt")
    assert all(torch.equal(v, target.encoder.state_dict()[k]) for k, v in source.encoder.state_dict().items())


def test_an_encoder_of_another_size_is_refused_and_the_network_unchanged(root, saved):
    network = build(root, "train", "network_def", **{"network_def#encoder#block_inplanes": [8, 16, 32, 64]})
    before = copy.deepcopy(network.state_dict())
    message = r"of another shape \(\d+\): conv1.weight \[16, 1, 7, 7\] for \[8, 1, 7, 7\].*Use the encoder size.*network_def#encoder"
    with pytest.raises(InputError, match=message):
        load_encoder(network, saved)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_layers_that_are_missing_or_left_over_are_named(root, saved):
    state = torch.load(saved, weights_only=True)
    del state["layer1.0.conv1.weight"]
    torch.save(state | {"fc.weight": torch.zeros(128, 128), "mask_token": torch.zeros(3)}, saved)
    message = r"missing in the file \(2\): layer1.0.conv1.weight, fc.bias; unknown to the network \(1\): mask_token"
    with pytest.raises(InputError, match=message):
        load_encoder(build(root, "train", "network_def"), saved)


def test_a_network_without_an_encoder_has_no_use_for_one(root, saved):
    network = build(root, "train", "network_def", **{"network_def#conditioning": "none"})
    with pytest.raises(InputError, match=r"encoder.pt: an encoder was given for a network that has none.*`encoder_path`"):
        load_encoder(network, saved)
    with pytest.raises(InputError, match=r"none\.pt: the checkpoint does not exist"):
        load_encoder(build(root, "train", "network_def"), saved.with_name("none.pt"))
