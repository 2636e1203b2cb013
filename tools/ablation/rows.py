"""Compute one row of an ablation: the maps of every case with one setting, and what they are worth."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

import scripts.inferers
import scripts.metrics
import scripts.ops
from scripts.errors import InputError
from scripts.inferers import Polarity, ScoreMaps
from scripts.metrics.score_counts import POOLED_MANTISSA_BITS, ScoreCounts, pooled_voxel_scores
from scripts.metrics.thresholds import pooled_best_dice
from scripts.ops import PopulationStatistics
from tools.ablation import cases
from tools.ablation.cases import AblationCase
from tools.ablation.reconstructions import Reconstructor
from tools.ablation.settings import MAP_KEYS, Setting

__all__ = ["AblationRow", "RowMaker", "score_map"]

logger = logging.getLogger(__name__)
Population = Callable[[Setting, AblationCase], PopulationStatistics | None]


def score_map(
    case: AblationCase,
    reconstructions: torch.Tensor,
    setting: Setting,
    polarity: Polarity,
    population: PopulationStatistics | None = None,
) -> torch.Tensor:
    """Return the map of a case with one setting, as the inferer makes it.

    Args:
        case: the scan.
        reconstructions: [K, S, H, W] in [0, 1].
        setting: what to compute.
        polarity: of the lesions, for the map `intensity`.
        population: statistics of healthy subjects, for a setting that uses them.

    Returns:
        [S, H, W] float32, at least 0, higher is more anomalous, zero outside the brain mask.
    """
    options = setting.map_options(polarity=polarity)
    maps = ScoreMaps(case.image, reconstructions, case.brain_mask, options, population)
    return maps.get(setting.values["map"]).float()


@dataclass(frozen=True)
class AblationRow:
    """The figures of one setting.

    Attributes:
        auprc: of each lesion case, [0, 1]; NaN where the lesion is empty on the working grid.
        oracle_dice: the best Dice of each lesion case over all thresholds, [0, 1] or NaN.
        pooled_auprc: over the voxels of all lesion cases.
        best_dice: the highest Dice over the voxels of all lesion cases with one threshold.
        threshold: the one that gives it.
        healthy_ml: volume at or above that threshold in each healthy case, ml.
        map_seconds: time of the maps of each lesion case; reconstructing is not in it.
        reason: why there are no figures; empty where there are.
    """

    auprc: list[float]
    oracle_dice: list[float]
    pooled_auprc: float = math.nan
    best_dice: float = math.nan
    threshold: float = math.nan
    healthy_ml: list[float] = field(default_factory=list)
    map_seconds: list[float] = field(default_factory=list)
    reason: str = ""


class RowMaker:
    """Compute rows over lesion cases and healthy cases, and keep the finished ones.

    A row is used again while settings, weights, cases and the code of the maps and metrics are the same.

    Args:
        cases: with lesion labels.
        healthy: without.
        reconstructor: of the reconstructions; its cache keeps the rows too.
        polarity: of the lesions, for the map `intensity`.
        population: returns the statistics of healthy subjects of a setting's network for a case, if any.
    """

    def __init__(
        self,
        cases: Sequence[AblationCase],
        healthy: Sequence[AblationCase],
        reconstructor: Reconstructor,
        *,
        polarity: Polarity,
        population: Population,
    ) -> None:
        self.cases, self.healthy = list(cases), list(healthy)
        self.reconstructor, self.polarity, self.population = reconstructor, polarity, population
        self._code = _code_digest()

    def make(self, settings: Sequence[Setting], *, progress: bool = True) -> dict[str, AblationRow]:
        """Return the rows by name of the setting, each computed or found.

        A setting that the maps refuse (population statistics that nobody has measured, say) gets a row without figures,
        unless it is the first one, the base.

        Raises:
            InputError: if the base cannot be computed.
        """
        rows: dict[str, AblationRow] = {}
        for setting in tqdm(settings, desc="computing maps", unit="setting", disable=not progress):
            try:
                rows[setting.name] = self.reconstructor.cache.get(self.key(setting), partial(self._compute, setting))
            except InputError as error:
                if not rows:
                    raise
                logger.warning("%s cannot be computed: %s", setting.name, error)
                none, healthy = ([math.nan] * len(part) for part in (self.cases, self.healthy))
                row = AblationRow(none, none, healthy_ml=healthy, map_seconds=none, reason=str(error))
                rows[setting.name] = row
        return rows

    def key(self, setting: Setting) -> str:
        """Return the key of a row: equal for what must give equal figures."""
        population = self.population(setting, self.cases[0])
        parts = () if population is None else (population.mean, population.std, population.components)
        return joblib.hash(
            {
                "reconstructions": self.reconstructor.source(setting),
                **{name: setting.values[name] for name in ("num_samples", *MAP_KEYS)},
                "polarity": str(self.polarity),
                "cases": [(case.digest, case.label_digest) for case in self.cases],
                "healthy": [case.digest for case in self.healthy],
                "statistics": [part.numpy() for part in parts],
                "code": self._code,
            }
        )

    def _map(self, setting: Setting, case: AblationCase) -> tuple[np.ndarray, float]:
        """Return the map and the seconds that it took."""
        reconstructions, population = self.reconstructor.samples(setting, case), self.population(setting, case)
        start = time.perf_counter()
        found = score_map(case, reconstructions, setting, self.polarity, population)
        return found.numpy(), time.perf_counter() - start

    def _compute(self, setting: Setting) -> AblationRow:
        auprc, oracle, seconds, pooled = [], [], [], ScoreCounts.empty()
        for case in self.cases:
            scores, took = self._map(setting, case)
            counts = _count(case, scores)
            auprc.append(pooled_voxel_scores(counts).auprc)
            oracle.append(pooled_best_dice(counts).dice)
            seconds.append(took)
            pooled += _count(case, scores, mantissa_bits=POOLED_MANTISSA_BITS)
        best = pooled_best_dice(pooled)
        return AblationRow(
            auprc=auprc,
            oracle_dice=oracle,
            pooled_auprc=pooled_voxel_scores(pooled).auprc,
            best_dice=best.dice,
            threshold=best.threshold,
            healthy_ml=[self._healthy_ml(setting, case, best.threshold) for case in self.healthy],
            map_seconds=seconds,
        )

    def _healthy_ml(self, setting: Setting, case: AblationCase, threshold: float) -> float:
        if math.isnan(threshold):
            return math.nan
        scores = self._map(setting, case)[0][case.brain_mask.numpy()]
        return float((scores >= np.float32(threshold)).sum()) * case.voxel_ml


def _count(case: AblationCase, scores: np.ndarray, *, mantissa_bits: int | None = None) -> ScoreCounts:
    """Count the voxels of the whole volume by score; those outside the brain have score zero (the paper's way)."""
    brain = case.brain_mask.numpy()
    lesion = np.zeros(brain.shape, bool) if case.label is None else case.label.numpy()
    outside = int(lesion[~brain].sum())
    counts = ScoreCounts.count(scores[brain], lesion[brain], mantissa_bits=mantissa_bits)
    return counts.with_zeros(positives=outside, negatives=int((~brain).sum()) - outside)


def _code_digest() -> str:
    """Return the SHA-256 of the source code that a row's figures depend on."""
    packages = [Path(str(package.__file__)).parent for package in (scripts.inferers, scripts.metrics, scripts.ops)]
    own = [Path(__file__), Path(cases.__file__)]
    files = [*own, *(path for package in packages for path in sorted(package.glob("*.py")))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
