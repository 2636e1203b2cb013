"""MONAI core's U-Net in the place of monai-generative's, with the same weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.errors import InputError
from scripts.networks import load_weights


def _network(root: Path) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(str(root / "bundle" / "configs" / "inference.yaml"))
    parser["network_def#autocast_dtype"] = None
    return parser.get_parsed_content("network_def").eval()


@pytest.fixture
def both(root: Path, monkeypatch) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The network of inference.yaml with monai-generative and without it."""
    ours = _network(root)
    monkeypatch.setattr("scripts.networks.conditioned_unet.find_spec", lambda name: None)
    return ours, _network(root)


def test_without_monai_generative_the_shipped_weights_reconstruct_the_same(root: Path, both) -> None:
    ours, core = both
    assert type(ours.unet).__module__.startswith("generative.")
    assert type(core.unet).__module__.startswith("monai.networks.")
    for network in both:
        load_weights(network, root / "bundle" / "models" / "model.pt")
    noisy, clean = torch.rand(2, 2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = ours(noisy, torch.tensor([100, 900]), clean)
        assert expected.std() > 0.1
        # both run the same operations; kernels may be chosen differently, at float32's last digits
        torch.testing.assert_close(core(noisy, torch.tensor([100, 900]), clean), expected, atol=1e-5, rtol=1e-4)


def test_its_own_weights_come_back_as_they_are(both, tmp_path: Path) -> None:
    _, core = both
    torch.save(core.state_dict(), tmp_path / "model.pt")
    expected = {name: value.clone() for name, value in core.state_dict().items()}
    for parameter in core.parameters():
        torch.nn.init.zeros_(parameter)
    load_weights(core, tmp_path / "model.pt")
    assert all(torch.equal(value, expected[name]) for name, value in core.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("unet.conv_in.conv.weight"), "missing in the file"),
        (lambda state: state.update({"unet.other": torch.zeros(1)}), "unknown to the network"),
        (lambda state: state.update({"unet.conv_in.conv.weight": torch.zeros(1)}), "of another shape"),
    ],
)
def test_weights_that_lack_something_are_refused_and_nothing_random_takes_their_place(root: Path, both, tmp_path: Path, change, message) -> None:
    state = torch.load(root / "bundle" / "models" / "model.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        load_weights(both[1], tmp_path / "model.pt")


def test_the_module_is_not_needed_for_the_config(root: Path, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "generative"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "generative", None)
    monkeypatch.setattr("scripts.networks.conditioned_unet.find_spec", lambda name: None)
    assert sum(parameter.numel() for parameter in _network(root).parameters()) > 1e6
