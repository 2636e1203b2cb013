"""One network, the weights of each modality."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.networks import ModalityWeights


def _save(path: Path, value: float) -> None:
    torch.save({"weight": torch.full((1, 1), value), "bias": torch.zeros(1)}, path)


def test_the_network_follows_the_modality(tmp_path: Path) -> None:
    _save(tmp_path / "model.pt", 1.0)
    _save(tmp_path / "model_t2.pt", 2.0)
    network = torch.nn.Linear(1, 1)
    weights = ModalityWeights(network, tmp_path)
    seen = []
    for modality in ("t1", "t2", "t2", "t1"):
        used = weights.use(modality)
        seen.append((used["file"], network.weight.item()))
    assert seen == [("model.pt", 1.0), ("model_t2.pt", 2.0), ("model_t2.pt", 2.0), ("model.pt", 1.0)]
    assert used["sha256"] == hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()


def test_weights_in_use_are_not_read_again(tmp_path: Path) -> None:
    _save(tmp_path / "model.pt", 1.0)
    network = torch.nn.Linear(1, 1)
    weights = ModalityWeights(network, tmp_path)
    weights.use("t1")
    network.weight.data.fill_(5)
    weights.use("t1")
    assert network.weight.item() == 5


def test_a_given_checkpoint_serves_every_modality(tmp_path: Path) -> None:
    _save(tmp_path / "mine.pt", 3.0)
    network = torch.nn.Linear(1, 1)
    weights = ModalityWeights(network, tmp_path, checkpoint=tmp_path / "mine.pt")
    assert weights.use("t2")["file"] == "mine.pt"
    assert network.weight.item() == 3


def test_missing_weights_are_reported_with_what_there_is(tmp_path: Path) -> None:
    _save(tmp_path / "model.pt", 1.0)
    weights = ModalityWeights(torch.nn.Linear(1, 1), tmp_path)
    with pytest.raises(InputError, match=r"model_t2\.pt: there are no weights for t2 scans \(the folder holds model\.pt\)"):
        weights.use("t2")


def test_another_network_gets_the_weights_and_our_own_stays(tmp_path: Path) -> None:
    _save(tmp_path / "model.pt", 1.0)
    _save(tmp_path / "model_t2.pt", 2.0)
    own, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    weights = ModalityWeights(own, tmp_path)
    weights.use("t1")
    weights.put_into(other, "t2")
    assert (own.weight.item(), other.weight.item()) == (1.0, 2.0)
    weights.put_into(own, "t2")
    assert own.weight.item() == 2.0
    assert weights.use("t1")["file"] == "model.pt"
    assert own.weight.item() == 1.0


def test_the_licence_beside_the_weights_is_named(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    weights = ModalityWeights(network, tmp_path)
    assert "licence" not in weights.use("t1")
    (tmp_path / "LICENSE").write_text("CC BY-SA 4.0\n\nand what it means\n")
    assert weights.use("t1")["licence"] == "CC BY-SA 4.0"
