"""Loading is strict, names every mismatch, executes nothing, and leaves the network alone when it fails."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.errors import InputError
from scripts.networks import load_weights, read_checkpoint


def make_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


class Payload:
    """An object whose unpickling would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_a_state_dict_is_loaded_plain_wrapped_or_distributed(tmp_path, wrap):
    source, target = make_network(1), make_network(2)
    torch.save(wrap(source.state_dict()), tmp_path / "w.pt")
    assert load_weights(target, tmp_path / "w.pt") is target
    assert all(torch.equal(v, target.state_dict()[k]) for k, v in source.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_is_converted_to_the_networks(tmp_path, dtype):
    source = make_network(1).to(dtype)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    target = load_weights(make_network(2), tmp_path / "w.pt")
    assert {p.dtype for p in target.parameters()} == {torch.float32}
    assert torch.equal(target[2].weight, source[2].weight.float())


def test_every_mismatch_is_named_and_the_network_unchanged(tmp_path):
    state = make_network(1).state_dict()
    del state["0.bias"], state["1.running_mean"]
    state["2.weight"] = torch.zeros(5, 3)
    state["extra.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pt")
    target = make_network(2)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(target, tmp_path / "w.pt")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'w.pt'}: the weights do not fit the network")
    assert "of another shape (1): 2.weight [5, 3] for [2, 3]" in message
    assert "missing in the file (2): 0.bias, 1.running_mean" in message
    assert "unknown to the network (1): extra.weight" in message
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())


def test_weights_of_another_network_size_are_refused(tmp_path, tiny_network):
    torch.save(tiny_network(unet_options={"channels": (8, 8)}).state_dict(), tmp_path / "small.pt")
    with pytest.raises(InputError, match=r"of another shape \(\d+\): .*… and \d+ more.*Use the network size"):
        load_weights(tiny_network(), tmp_path / "small.pt")


def test_film_weights_do_not_fit_a_network_without(tmp_path, tiny_network):
    torch.save(tiny_network("film").state_dict(), tmp_path / "film.pt")
    with pytest.raises(InputError, match=r"unknown to the network \(4\): encoder.1.weight.*unet.class_embedding"):
        load_weights(tiny_network("none"), tmp_path / "film.pt")


def test_a_pickled_object_is_refused_and_not_executed(tmp_path):
    torch.save({"model": Payload(tmp_path / "touched")}, tmp_path / "w.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(tmp_path / "touched")))
    for name in ("w.pt", "plain.pt"):
        with pytest.raises(
            InputError, match=rf"{name}: it cannot be read as a weights-only torch checkpoint \(UnpicklingError\)"
        ):
            load_weights(make_network(), tmp_path / name)
    assert not (tmp_path / "touched").exists()


def damage(good: bytes) -> dict[str, bytes]:
    middle = len(good) // 2
    return {
        "empty": b"",
        "cut": good[:middle],
        "text": b"# not weights\n",
        "zeros": bytes(100),
        "noise": bytes(range(255, 0, -1)),
    }


@pytest.mark.parametrize("kind", damage(b""))
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_refused_with_its_name(tmp_path, kind, zipped):
    path = tmp_path / "w.pt"
    torch.save(make_network().state_dict(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(damage(path.read_bytes())[kind])
    with pytest.raises(InputError, match=r"w\.pt: it cannot be read as a weights-only torch checkpoint"):
        load_weights(make_network(), path)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(InputError, match=f"{path}: the checkpoint does not exist. Train one"):
            load_weights(make_network(), path)


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"model": {"w": 1}}, {0: torch.zeros(1)}, torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"it holds no state dict\. Give a state dict, or a dict with the key 'model'"):
        load_weights(make_network(), tmp_path / "w.pt")


def test_read_checkpoint_returns_what_was_saved(tmp_path):
    torch.save({"epoch": 3, "names": ["a"], "weights": torch.arange(3)}, tmp_path / "w.pt")
    content = read_checkpoint(tmp_path / "w.pt")
    assert content["epoch"] == 3
    assert content["names"] == ["a"]
    assert torch.equal(content["weights"], torch.arange(3))
