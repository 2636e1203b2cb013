"""A moving average of weights that is of use early in training too."""

from __future__ import annotations

from ignite.engine import Engine, Events

__all__ = ["EmaRamp"]


class EmaRamp:
    """Let Ignite's `EMAHandler` average over few steps at first: share of the new weights max(momentum, 9/(10 + step)).

    With a fixed small share the average is mostly the random weights it began with for the first thousand steps. The
    share depends on the trainer's iteration alone, so a resumed run goes on with the one it stopped at.

    Args:
        momentum: share of the new weights, per step, that the ramp ends at.
        name: attribute of the trainer's state that `EMAHandler` reads.

    Raises:
        ValueError: if `momentum` is not above 0 and below 1.

    References:
        TensorFlow's `ExponentialMovingAverage(num_updates)`: decay min(decay, (1 + n)/(10 + n)).
    """

    def __init__(self, *, momentum: float, name: str = "ema_momentum") -> None:
        if not 0 < momentum < 1:
            raise ValueError(f"`momentum` must be above 0 and below 1, got {momentum}.")
        self.momentum = momentum
        self.name = name

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, in any order with `EMAHandler`."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the share of the current step."""
        setattr(engine.state, self.name, max(self.momentum, 9 / (10 + engine.state.iteration)))
