"""Gradient clipping as a handler, which MONAI's trainer has no argument for."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

__all__ = ["GradientClip"]


class GradientClip:
    """Clip the norm of a network's gradients after each backward pass, unscaled first where the trainer scales them.

    Args:
        network: whose gradients are clipped.
        max_norm: largest L2 norm over all parameters.

    Raises:
        ValueError: if `max_norm` is not positive.
    """

    def __init__(self, network: torch.nn.Module, *, max_norm: float = 1.0) -> None:
        if max_norm <= 0:
            raise ValueError(f"`max_norm` must be positive, got {max_norm}.")
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip, and keep the norm before clipping in `engine.state.gradient_norm`."""
        trainer: Any = engine
        if getattr(trainer, "scaler", None) is not None:  # mixed precision: the loss was multiplied before the pass
            trainer.scaler.unscale_(trainer.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
        trainer.state.gradient_norm = float(norm)
