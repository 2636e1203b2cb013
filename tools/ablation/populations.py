"""Statistics of healthy subjects that the rows of an ablation use: the file beside the weights, or measured here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from scripts.inferers.population_files import PopulationFile, read_population, save_population
from scripts.ops import PopulationFit, PopulationStatistics, population
from tools.ablation.cache import AblationCache, digest_of
from tools.ablation.cases import AblationCase
from tools.ablation.reconstructions import Reconstructor
from tools.ablation.settings import FIT_KEYS, POPULATION_KEYS, Setting

__all__ = ["PopulationMaker"]

logger = logging.getLogger(__name__)
_CODE = hashlib.sha256(Path(population.__file__).read_bytes()).hexdigest()


class PopulationMaker:
    """Return the statistics that a setting uses, each measured once and kept.

    A setting with `population_datasets` has those of the training split of these sets; without, those of the file
    beside the weights.

    Args:
        reconstructor: of the reconstructions.
        cache: keeps reconstructions and statistics.
        subjects: returns the training subjects of a data set, the first so many or all, one after the other.
        listed: returns what tells whether they are the same as before, without reading them.
    """

    def __init__(
        self,
        reconstructor: Reconstructor,
        cache: AblationCache,
        *,
        subjects: Callable[[str, int | None], Iterable[AblationCase]],
        listed: Callable[[str, int | None], Any],
    ) -> None:
        self.reconstructor, self.cache, self.subjects, self.listed = reconstructor, cache, subjects, listed
        self._known: dict[str, PopulationStatistics] = {}
        self._fit: tuple[str, PopulationFit] | None = None  # the last one, for other settings of the same subjects

    def __call__(self, setting: Setting, case: AblationCase) -> PopulationStatistics | None:
        """Return the statistics of a setting on the grid of a case, None where it uses none."""
        if not setting.values["population"] or not setting.values["population_datasets"]:
            return self.reconstructor.population(setting, case)
        return self._measured(setting).leading(setting.values["population_components"])

    def _measured(self, setting: Setting) -> PopulationStatistics:
        names = setting.values["population_datasets"]
        subjects = {
            "source": self.reconstructor.source(setting),
            "num_samples": setting.values["population_samples"],
            "subjects": {name: self.listed(name, setting.values["population_limit"]) for name in names},
        }
        options = {key: setting.values[key] for key in FIT_KEYS}
        key = digest_of({**subjects, "options": options, "code": _CODE})
        if key not in self._known:
            path = self.cache.folder / "populations" / f"{key[:32]}.pt"
            if not path.is_file():
                self._measure(setting, subjects, path)
            self._known[key] = read_population(path).statistics  # in half precision, whether measured now or before
        return self._known[key]

    def _measure(self, setting: Setting, subjects: dict[str, Any], path: Path) -> None:
        values = setting.values
        statistics = self._collected(setting, subjects).finish(
            smoothing_sigma=values["population_smoothing"],
            num_components=values["fitted_components"],
            component_sigma=values["component_smoothing"],
            spread=values["population_spread"],
        )
        about = {key: values[key] for key in POPULATION_KEYS}
        save_population(path, PopulationFile(statistics, torch.eye(4, dtype=torch.float64), about))

    def _collected(self, setting: Setting, subjects: dict[str, Any]) -> PopulationFit:
        key = digest_of(subjects)
        if self._fit is None or self._fit[0] != key:
            fit = PopulationFit()
            fewer = Setting(setting.name, {**setting.values, "num_samples": setting.values["population_samples"]})
            for name in setting.values["population_datasets"]:
                for case in self.subjects(name, setting.values["population_limit"]):
                    mean = self.reconstructor.reconstruct(fewer, case).mean(dim=0)
                    fit.add(case.image - mean, case.brain_mask)
            logger.info("population of %s: %d subjects", ", ".join(setting.values["population_datasets"]), fit.count)
            self._fit = (key, fit)
        return self._fit[1]
