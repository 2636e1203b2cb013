"""The network configs build what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser


def _network(root: Path, *overlays: str) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{name}.yaml") for name in ("train", *overlays)])
    return parser.get_parsed_content("network_def")


def _parameters(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize(
    ("overlay", "low", "high"),
    [(None, 1.3, 1.6), ("network_monai", 1.3, 1.6), ("network_reference", 55, 65)],
)
def test_networks_have_their_size_and_reconstruct_a_slice(root: Path, overlay: str | None, low: float, high: float) -> None:
    network = _network(root, *([overlay] if overlay else [])).eval()
    assert low < _parameters(network) < high, "million parameters"
    size = 32 if overlay == "network_reference" else 96
    slices = torch.rand(1, 1, size, size)
    with torch.no_grad():
        assert network(slices, torch.tensor([500]), slices).shape == slices.shape


def test_weights_of_the_shipped_network_work_in_monai_core(root: Path) -> None:
    ours, core = _network(root).eval(), _network(root, "network_monai").eval()
    state = torch.load(root / "bundle" / "models" / "model.pt", weights_only=True)
    ours.load_state_dict(state)
    core.encoder.load_state_dict(ours.encoder.state_dict())
    core.unet.load_old_state_dict(ours.unet.state_dict())
    ours.autocast_dtype = core.autocast_dtype = None
    generator = torch.Generator().manual_seed(0)
    noisy, clean = torch.rand(2, 2, 1, 96, 96, generator=generator)
    with torch.no_grad():
        expected = ours(noisy, torch.tensor([100, 900]), clean)
        # both run the same operations; kernels may be chosen differently, at float32's last digits
        torch.testing.assert_close(core(noisy, torch.tensor([100, 900]), clean), expected, atol=1e-5, rtol=1e-4)
