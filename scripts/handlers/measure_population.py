"""Measure how reconstructions differ from healthy scans, and write it beside the weights for the inferer."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from scripts.data import load_record
from scripts.errors import InputError
from scripts.evaluation.case import engine_items, read_case
from scripts.inferers.population_files import PopulationFile, population_path, save_population
from scripts.ops import PopulationFit, check_components

__all__ = ["PopulationHandler"]

logger = logging.getLogger(__name__)


@dataclass
class PopulationHandler:
    """Collect scan − mean reconstruction over the run's healthy subjects and write `population_MODALITY.pt`.

    Args:
        folder: where the file goes.
        outputs: names of the inferer's channels, `reconstruction` among them.
        modality: t1 or t2.
        split: of the data sets, for the record.
        weights: `file` and `sha256` of the network's weights.
        settings: of the reconstructions, for the record.
        smoothing_sigma: of the neighbourhood that mean and spread are pooled over, voxels.
        num_components: r, principal components to keep, fewer than the subjects less one.
        component_sigma: of the residuals before the components are found, voxels.

    Raises:
        InputError: if `outputs` lacks the reconstruction; at its start if there are fewer
            subjects than it needs, during the run if a scan has a lesion or another grid.
    """

    folder: str | Path
    outputs: Sequence[str]
    modality: str
    split: str
    weights: Mapping[str, str]
    settings: Mapping[str, Any]
    smoothing_sigma: float = 2.0
    num_components: int = 16
    component_sigma: float = 1.0

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
        check_components(self.num_components, int(engine.state.epoch_length or 0))  # before hours of work, not after
        self._fit = PopulationFit()
        self._subjects: Counter[str] = Counter()
        self._affine: np.ndarray | None = None

    def _collect(self, engine: Engine) -> None:
        for item in engine_items(engine):
            self._add(item)

    def _add(self, item: Mapping[str, Any]) -> None:
        case = read_case(item, outputs=self.outputs)
        if case.target.any():
            raise InputError(f"{case.dataset}/{case.case} has a lesion: population statistics need healthy scans")
        if self._affine is not None and not np.allclose(self._affine, case.affine, atol=1e-3):
            raise InputError(f"{case.dataset}/{case.case} lies on another grid than the scans before it")
        self._affine = case.affine
        residual = torch.from_numpy(case.image - case.channels["reconstruction"])
        self._fit.add(residual.permute(2, 0, 1), torch.from_numpy(case.brain_mask).permute(2, 0, 1))
        self._subjects[case.dataset] += 1

    def _write(self, engine: Engine) -> None:
        fit: dict[str, Any] = {
            "smoothing_sigma": self.smoothing_sigma,
            "num_components": self.num_components,
            "component_sigma": self.component_sigma,
        }
        statistics = self._fit.finish(**fit)
        about = {
            "modality": self.modality,
            "weights_file": self.weights["file"],
            "weights_sha256": self.weights["sha256"],
            "num_subjects": self._fit.count,
            "datasets": [_source(name, self.split, count) for name, count in self._subjects.items()],
            "settings": {**self.settings, **fit},
        }
        affine = torch.from_numpy(np.eye(4) if self._affine is None else self._affine)
        path = population_path(self.folder, self.modality)
        save_population(path, PopulationFile(statistics, affine, about))
        inside = statistics.brain >= 0.5
        total = statistics.std[inside].square().mean()
        shared = statistics.components.square().sum(dim=0)[inside].mean() / total
        logger.info(
            "population of %d subjects: mean %.4f, spread %.4f (medians over the brain), %d components with %.0f%% of "
            "the variance; %.1f MB written to %s",
            self._fit.count,
            float(statistics.mean[inside].median()),
            float(statistics.std[inside].median()),
            self.num_components,
            100 * float(shared),
            path.stat().st_size / 1e6,
            path,
        )


def _source(name: str, split: str, count: int) -> dict[str, Any]:
    record = load_record(name)
    return {"name": name, "split": split, "num_subjects": count, "licence": record.licence, "citation": record.citation}
