"""Measure how reconstructions differ from healthy scans, and write it for the inferer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from scripts.errors import InputError
from scripts.evaluation.case import engine_items, read_case
from scripts.inferers.healthy_errors import healthy_error_path, save_healthy_error
from scripts.ops import HealthyErrorSum

__all__ = ["HealthyErrorHandler"]

logger = logging.getLogger(__name__)


@dataclass
class HealthyErrorHandler:
    """Add up scan − mean reconstruction over the run's healthy scans and write `healthy_error_MODALITY.nii.gz`.

    Args:
        folder: where the file goes.
        outputs: names of the inferer's channels, `reconstruction` among them.
        modality: t1 or t2.
        weights: `file` and `sha256` of the network's weights.
        smoothing_sigma: of the neighbourhood that is pooled, voxels.

    Raises:
        InputError: if `outputs` lacks the reconstruction; during the run if a scan has a lesion or another grid.
    """

    folder: str | Path
    outputs: Sequence[str]
    modality: str
    weights: Mapping[str, str]
    smoothing_sigma: float = 2.0

    def __post_init__(self) -> None:
        """Check the options."""
        if "reconstruction" not in self.outputs:
            raise InputError(f"`outputs` must hold reconstruction, got {list(self.outputs)}")

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._sum = HealthyErrorSum()
        self._affine: np.ndarray | None = None

    def _collect(self, engine: Engine) -> None:
        for item in engine_items(engine):
            self._add(item)

    def _add(self, item: Mapping[str, Any]) -> None:
        case = read_case(item, outputs=self.outputs)
        if case.target.any():
            raise InputError(f"{case.dataset}/{case.case} has a lesion: healthy errors need healthy scans")
        if self._affine is not None and not np.allclose(self._affine, case.affine, atol=1e-3):
            raise InputError(f"{case.dataset}/{case.case} lies on another grid than the scans before it")
        self._affine = case.affine
        difference = torch.from_numpy(case.image - case.channels["reconstruction"])
        self._sum.add(difference.permute(2, 0, 1), torch.from_numpy(case.brain_mask).permute(2, 0, 1))

    def _write(self, engine: Engine) -> None:
        error = self._sum.finish(smoothing_sigma=self.smoothing_sigma)
        path = healthy_error_path(self.folder, self.modality)
        affine = np.eye(4) if self._affine is None else self._affine
        save_healthy_error(path, error, affine=affine, weights_sha256=self.weights["sha256"])
        inside = error.brain >= 0.5
        logger.info(
            "healthy errors of %d scans: mean %.4f, standard deviation %.4f (median over the brain); written to %s",
            self._sum.count,
            float(error.mean[inside].median()),
            float(error.std[inside].median()),
            path,
        )
