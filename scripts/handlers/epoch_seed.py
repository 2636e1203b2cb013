"""Random numbers that depend on the epoch alone, so that a resumed training goes on as if it had never stopped."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import set_rnd

__all__ = ["EpochSeed"]


class EpochSeed:
    """Seed torch, numpy, Python and the random transforms of a dataset at the start of every epoch.

    The seed is made of the run's seed, the epoch and the process's rank. With it, the order of the data, the
    augmentation, the timesteps and the noise of an epoch do not depend on what was run before in the same process:
    an interrupted training that goes on from its last epoch gives the weights of an undisturbed one on the same
    machine. The workers of the data loader must not outlive the epoch (`persistent_workers=False`): they take their
    seeds from torch's when they start.

    Args:
        seed: of the run; None leaves all generators alone, and a resumed run differs from an undisturbed one.
        dataset: whose random transforms are seeded, for loaders without workers.
    """

    def __init__(self, seed: int | None, *, dataset: Any = None) -> None:
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer; before all other handlers that use random numbers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed all generators for the epoch that begins."""
        if self.seed is None:
            return
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        entropy = [abs(int(self.seed)), int(engine.state.epoch), rank]
        value = int(np.random.SeedSequence(entropy).generate_state(1, np.uint32)[0])
        torch.manual_seed(value)
        np.random.seed(value)
        random.seed(value)
        if self.dataset is not None:
            set_rnd(self.dataset, value)
