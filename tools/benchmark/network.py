"""What share of a processor's arithmetic the network reaches, against a matrix product in the same run."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch.utils.flop_counter import FlopCounterMode

from scripts.inferers import MahalanobisInferer
from scripts.networks import ConditionedUNet, load_weights
from scripts.paths import bundle_root
from tools.benchmark.measure import Measure, seconds_of

__all__ = ["benchmark_network"]

_EDGE = 2048  # of the matrices


def benchmark_network(*, size: int, repeats: int, num_slices: int = 32) -> list[Measure]:
    """Time the shipped network on slices, in batches as inference makes them, and a matrix product of its type.

    Args:
        size: height and width of the slices in pixels.
        repeats: timed rounds; each times the network and the product once.
        num_slices: slices a round.

    Returns:
        Seconds a slice, its arithmetic (a multiplication and an addition are two), the product's speed, and what the
        network reaches over what the product reaches, best of each.
    """
    parser = ConfigParser()
    parser.read_config(str(Path(bundle_root()) / "configs" / "inference.yaml"))
    parser.update({"device": "cpu", "population": False})
    network: ConditionedUNet = parser.get_parsed_content("network").eval()
    load_weights(network, Path(bundle_root()) / "models" / "model.pt")
    inferer: MahalanobisInferer = parser.get_parsed_content("inferer")
    batch = min(inferer.sampler.batch_size(network, size * size, device="cpu"), num_slices)
    generator = torch.Generator().manual_seed(0)
    slices = torch.randn(num_slices, 1, size, size, generator=generator)
    steps = torch.full((num_slices,), 450)
    dtype = getattr(torch, network.autocast_dtype or "float32")
    first = torch.randn(_EDGE, _EDGE, generator=generator).to(dtype)
    with torch.no_grad():
        features = network.encode(slices)

        def forward() -> None:
            for part in torch.arange(num_slices).split(batch):
                network(slices[part], steps[part], None if features is None else features[part])

        with FlopCounterMode(display=False) as counter:
            forward()
        own, product = [], []
        for _ in range(repeats):
            own.append(seconds_of(forward).wall / num_slices)
            product.append(2 * _EDGE**3 / seconds_of(lambda: first @ first).wall / 1e9)
    flop = counter.get_total_flops() / num_slices / 1e9
    kind = str(dtype).removeprefix("torch.")
    return [
        Measure(f"network, a slice, {kind}", "s", own),
        Measure("network, arithmetic of a slice", "GFLOP", [flop]),
        Measure(f"matrix product, {kind}", "GFLOP/s", product),
        Measure("network, its FLOP/s over a matrix product's", "share", [flop / min(own) / max(product)]),
    ]
