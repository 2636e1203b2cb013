"""Make what the rows of an ablation need, each once: reconstructions, and statistics of healthy subjects."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.schedulers import Scheduler
from tqdm import tqdm

from scripts.errors import InputError
from scripts.inferers import PopulationFiles
from scripts.inferers.population_files import PopulationFile, read_population, save_population
from scripts.networks import ModalityWeights
from scripts.ops import PopulationFit, PopulationStatistics, population
from scripts.options import usable_device
from tools.ablation.cases import AblationCache, AblationCase, digest_of
from tools.ablation.settings import FIT_KEYS, POPULATION_KEYS, RECONSTRUCTION_KEYS, Setting, bundle_parser

__all__ = ["PopulationMaker", "Reconstructor"]

logger = logging.getLogger(__name__)
_NETWORK_KEYS = ("checkpoint", "network_config", "autocast_dtype")
_NETWORK_PARTS = ("network_def", "scheduler", "num_train_timesteps", "autocast_dtype")  # of the config, as written


@dataclass(frozen=True, eq=False)
class _Network:
    module: torch.nn.Module
    scheduler: Scheduler
    about: Mapping[str, Any]
    populations: PopulationFiles


class Reconstructor:
    """Know which stored draws each setting is made of, and make those that are missing.

    A draw depends on network, noise, seed, timestep and its own number alone, so that the first k of K draws serve
    every smaller k, and a mixture of timesteps takes its draws from those of the single timesteps where other rows have
    them.

    Args:
        cache: where reconstructions are kept.
        modality: t1 or t2, for the weights.
        overlays: config files over the bundle's own.
        device: where the network runs.
        memory_budget_mb: for the activations of one forward pass.
        progress: show a progress bar.

    Raises:
        InputError: if the device or the memory budget cannot be used.
    """

    def __init__(
        self,
        cache: AblationCache,
        *,
        modality: str = "t1",
        overlays: Sequence[str] = (),
        device: str = "cpu",
        memory_budget_mb: float = 512.0,
        progress: bool = True,
    ) -> None:
        if isinstance(memory_budget_mb, bool) or not isinstance(memory_budget_mb, int | float) or memory_budget_mb <= 0:
            raise InputError(f"`memory_budget_mb` must be a number above 0, got {memory_budget_mb!r}")
        self.cache, self.modality, self.overlays = cache, modality, tuple(overlays)
        self.device, self.memory_budget_mb, self.progress = usable_device(device), memory_budget_mb, progress
        self._networks: dict[str, _Network] = {}
        self._planned: dict[str, Setting] = {}  # the setting with the most draws of each source

    def _network(self, setting: Setting) -> _Network:
        chosen = {key: setting.values[key] for key in _NETWORK_KEYS}
        key = digest_of(chosen)
        if key not in self._networks:
            overlay = [chosen["network_config"]] if chosen["network_config"] else []
            parser = bundle_parser(*self.overlays, *overlay, autocast_dtype=chosen["autocast_dtype"])
            module = parser.get_parsed_content("network_def").to(self.device).eval()
            folder = parser.get_parsed_content("model_dir")
            weights = ModalityWeights(module, folder, checkpoint=chosen["checkpoint"]).use(self.modality)
            about = {"weights": weights["sha256"], **{part: parser[part] for part in _NETWORK_PARTS}}
            populations = PopulationFiles(folder)
            self._networks[key] = _Network(module, parser.get_parsed_content("scheduler"), about, populations)
        return self._networks[key]

    def _about(self, setting: Setting, timestep: int | list[int]) -> dict[str, Any]:
        noise = {key: setting.values[key] for key in RECONSTRUCTION_KEYS if key not in (*_NETWORK_KEYS, "num_samples")}
        return {**self._network(setting).about, **noise, "timestep": timestep}

    def source(self, setting: Setting) -> str:
        """Return the key of a setting's reconstructions, whatever their number."""
        return digest_of(self._about(setting, setting.values["timestep"]))

    def population(self, setting: Setting, case: AblationCase) -> PopulationStatistics | None:
        """Return the population of a setting's network on the grid of a case, None where the setting has none."""
        if not setting.values["population"]:
            return None
        network = self._network(setting)
        slices, *plane = case.image.shape
        return network.populations.of(
            self.modality,
            weights_sha256=network.about["weights"],
            shape=(*plane, slices),
            num_components=setting.values["population_components"],
        )

    def _parts(self, setting: Setting) -> list[str] | None:
        """Return the keys of a mixture's single timesteps, None for a single timestep."""
        steps = setting.values["timestep"]
        return [digest_of(self._about(setting, step)) for step in steps] if isinstance(steps, list) else None

    def plan(self, settings: Sequence[Setting]) -> None:
        """Find out what has to be made for all of the settings; their networks are loaded.

        Raises:
            InputError: if weights are missing or do not fit the network.
        """
        for setting in sorted(settings, key=lambda s: isinstance(s.values["timestep"], list)):
            if self._is_assembled(setting):
                continue
            source = self.source(setting)
            known = self._planned.get(source)
            if known is None or known.values["num_samples"] < setting.values["num_samples"]:
                self._planned[source] = setting

    def _is_assembled(self, setting: Setting) -> bool:
        """Whether a mixture's draws are all among those of single timesteps that are planned."""
        parts, needed = self._parts(setting), setting.values["num_samples"]
        return parts is not None and all(
            part in self._planned and self._planned[part].values["num_samples"] >= needed for part in parts
        )

    def make_missing(self, cases: Sequence[AblationCase]) -> int:
        """Make what is not in the cache, and return how many volumes (case times draw) that were."""
        missing = [
            (source, setting, case)
            for source, setting in self._planned.items()
            for case in cases
            if self.cache.num_draws(source, case) < setting.values["num_samples"]
        ]
        logger.info(
            "reconstructions: %d sets of draws, %d cases; %d to make", len(self._planned), len(cases), len(missing)
        )
        total = sum(setting.values["num_samples"] * case.slices_with_brain for _, setting, case in missing)
        with tqdm(total=total, desc="reconstructing slices", unit="slice", disable=not self.progress) as bar:
            for source, setting, case in missing:
                about = self._about(setting, setting.values["timestep"])
                self.cache.save(source, case, self._make(setting, case), about)
                bar.update(setting.values["num_samples"] * case.slices_with_brain)
        return sum(setting.values["num_samples"] for _, setting, _ in missing)

    def _make(self, setting: Setting, case: AblationCase) -> torch.Tensor:
        network = self._network(setting)
        sampler = setting.sampler(network.scheduler, memory_budget_mb=self.memory_budget_mb, progress=False)
        volumes = sampler(case.image.to(self.device), network.module, case.brain_mask.to(self.device))
        return volumes.cpu()

    def reconstruct(self, setting: Setting, case: AblationCase) -> torch.Tensor:
        """Return the reconstructions [K, S, H, W] of one case, from the cache or made now and kept."""
        source, num_samples = self.source(setting), setting.values["num_samples"]
        if self.cache.num_draws(source, case) < num_samples:
            about = self._about(setting, setting.values["timestep"])
            self.cache.save(source, case, self._make(setting, case), about)
        return self.cache.load(source, case, slice(0, num_samples))

    def load(self, setting: Setting, case: AblationCase) -> torch.Tensor:
        """Return a setting's reconstructions [K, S, H, W] of a case, after `plan` and `make_missing`."""
        num_samples = setting.values["num_samples"]
        source, parts = self.source(setting), self._parts(setting)
        if source in self._planned or parts is None:
            return self.cache.load(source, case, slice(0, num_samples))
        count = len(parts)
        volumes = torch.empty(num_samples, *case.image.shape)
        for place, part in enumerate(parts[:num_samples]):
            own = slice(place, num_samples, count)
            volumes[own] = self.cache.load(part, case, own)
        return volumes


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
