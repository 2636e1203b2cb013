"""The moving average of weights early in training."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

from scripts.handlers.training import EmaRamp


def _train(*handlers: str, steps: int = 50) -> tuple[float, list[float]]:
    """Add 1 to a weight in each step; return how far its average lags behind, and the shares that were used."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)

    def step(engine: Engine, batch: int) -> None:
        with torch.no_grad():
            network.weight += 1

    trainer = Engine(step)
    ema = EMAHandler(network, momentum=0.002)
    shares: list[float] = []
    for name in handlers:
        (EmaRamp(momentum=0.002) if name == "ramp" else ema).attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: shares.append(engine.state.ema_momentum))
    trainer.run([0] * steps)
    return float(network.weight - ema.ema_model.weight), shares


@pytest.mark.parametrize("order", [("ramp", "ema"), ("ema", "ramp")])
def test_average_follows_from_the_first_steps(order: tuple[str, str]) -> None:
    lag, shares = _train(*order)
    assert lag < 10, "steps, of 50"
    assert shares[:2] == [9 / 11, 9 / 12]
    assert _train("ema")[0] > 45, "without the ramp it is where it began"


def test_share_ends_at_the_momentum() -> None:
    _, shares = _train("ramp", "ema", steps=5000)
    assert shares[4489] == pytest.approx(9 / 4500)
    assert shares[-1] == 0.002


@pytest.mark.parametrize("momentum", [0, 1, -0.1])
def test_momentum_must_be_a_share(momentum: float) -> None:
    with pytest.raises(ValueError, match="`momentum` must be above 0 and below 1, got"):
        EmaRamp(momentum=momentum)
